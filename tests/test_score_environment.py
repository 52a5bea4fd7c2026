"""`make score` in its own environment, which has no PyTorch."""

import csv
import json
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PYTHON = ROOT / ".venv-score/bin/python"


@pytest.fixture(scope="module")
def small():
    """The environment of `make score`."""
    subprocess.run(
        ["make", ".venv-score/installed", f"PYTHON={sys.executable}"], cwd=ROOT, check=True, capture_output=True
    )
    return PYTHON


@pytest.fixture(scope="module")
def scored(small, weights, clip, tmp_path_factory):
    """What `inference.predict` says there of a clip of the registry, and the folder that it wrote to."""
    folder = tmp_path_factory.mktemp("score")
    command = [small, "-m", "inference.predict", clip("single_face.mp4"), "--evidence", folder / "evidence"]
    done = subprocess.run(
        [*command, "--output", folder / "s.csv"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done, folder


def test_it_is_small_and_has_no_pytorch(small):
    code = "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, ('torch', 'timm', 'onnx', 'torchvision'))))"
    assert subprocess.run([small, "-c", code], check=False).returncode == 0
    size = sum(path.stat().st_size for path in (ROOT / ".venv-score").rglob("*") if not path.is_symlink())
    assert size < 455e6  # with pip, and what Python compiles; 26e6 of it are for HEIC


def test_score_verdict_and_page_are_said(scored):
    done, folder = scored
    assert "by ONNX Runtime" in done.stdout
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("single_face.mp4: "))
    label = json.loads((folder / "s.jsonl").read_text())["label"]
    assert line.startswith(f"single_face.mp4: {label:.3f}, uncertain")
    assert line.endswith(str(folder / "evidence/single_face.mp4.html"))
    facts = json.loads((folder / "evidence/single_face.mp4.json").read_text())
    assert facts["provenance"]["runtime"] == "onnx"
    assert "torch" not in facts["provenance"]["versions"]


def test_pytorch_gives_the_same_score(scored, run, clip, tmp_path):
    _, folder = scored
    run("-m", "inference.predict", clip("single_face.mp4"), "--runtime", "torch", "--output", tmp_path / "t.csv")
    small, whole = (
        float(next(csv.DictReader(path.open(newline="")))["label"]) for path in (folder / "s.csv", tmp_path / "t.csv")
    )
    assert small == pytest.approx(whole, abs=1e-5)


def test_a_network_without_onnx_file_says_what_it_needs(small, clip, tmp_path):
    (tmp_path / "b0_rgb_58000.pth.tar").touch()
    command = [small, "-m", "inference.predict", clip("single_face.mp4"), "--models", tmp_path, "--members", "b0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "PyTorch is not installed, and there is no ONNX file for b0 in" in done.stderr


def test_a_network_of_ones_own_says_what_it_needs(small, clip, tmp_path):
    command = [small, "-m", "inference.predict", clip("single_face.mp4"), "--network", tmp_path / "mine.yaml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("this needs pydantic, which is not in this environment: use .venv/bin/python")


def test_the_make_target_asks_for_a_video(small):
    done = subprocess.run(["make", "score"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "make score VIDEO=clip.mp4" in done.stdout


@pytest.mark.parametrize(
    "module", ["quality.evaluate", "image_based.main", "inference.networks.export", "shipped.sets"]
)
def test_a_command_of_the_full_environment_says_so_in_a_sentence(small, module):
    done = subprocess.run([small, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(
        r"this needs \w+, which is not in this environment: use \.venv/bin/python, which `make demo` sets up\n",
        done.stderr,
    )
