"""The measurements for a GPU, as a dry run on the CPU."""

import json
import re
import sys

import pytest

from benchmarks.gpu import PARTS
from tests.conftest import ROOT


def read(folder):
    """The parts by name, and the table."""
    content = json.loads((folder / "gpu.json").read_text(encoding="utf-8"))
    return {part["name"]: part for part in content["parts"]}, (folder / "gpu.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_dry_run_walks_every_part(run, tmp_path, weights):
    done = run("-m", "benchmarks.gpu", "--dry-run", "--out", tmp_path)
    parts, table = read(tmp_path)
    assert {name: part["status"] for name, part in parts.items()} == dict.fromkeys(PARTS, "done")
    assert f"{len(PARTS)} of {len(PARTS)} parts done" in done.stdout
    rows = {name: {row["name"]: row for row in part["rows"]} for name, part in parts.items()}
    assert len(rows["training"]) == 6 * 4, "six networks: plain, float32, TF32, bf16"
    assert list(rows["compiled"]) == ["resnet34, compiled, bf16"]
    for name in ("training", "compiled"):
        rates = [float(row["figure"].partition("/s")[0]) for row in rows[name].values()]
        assert min(rates) > 0
    # On a CPU these are known: the same float32, the same boxes, the same bits.
    assert rows["precision"]["fp32"]["figure"].startswith("at most 0.0e+00")
    assert not rows["precision"]["bf16"]["figure"].startswith("at most 0.0e+00")
    assert rows["precision"]["members with a score on the CPU"]["figure"] == "3"
    assert rows["memory"]["5 crops at a time do not fit; halved to"]["figure"] == "2"
    assert float(rows["memory"]["the score moves by"]["figure"]) < 1e-6
    assert rows["detector"]["boxes above 0.5, CPU and device"]["figure"] == "5 and 5"
    assert rows["resume"]["weights after resuming from step 2"]["figure"] == "the same bits"
    (serial,) = (row["figure"] for name, row in rows["inference"].items() if "serial" in name)
    assert re.fullmatch(r"\d+\.\d\d s per video, \d+\.\d times ours", serial)
    for part in parts.values():
        for row in part["rows"]:
            assert f"| {row['name']} | {row['figure']} | {row['goal']} |" in table


def test_a_missing_package_costs_a_part_and_no_time_none_begins(run, tmp_path, monkeypatch, weights):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.delitem(sys.modules, "faces.video", raising=False)
    done = run("-m", "benchmarks.gpu", "--dry-run", "--parts", "detector,group", "--out", tmp_path, check=False)
    assert done.returncode == 1
    parts, table = read(tmp_path)
    assert parts["detector"]["status"] == "the package av is missing"
    assert parts["group"]["status"] == "done"
    assert "the package av is missing" in table


def test_parts_after_the_time_do_not_begin(run, tmp_path, monkeypatch):
    minutes = iter(range(0, 10000, 61))
    monkeypatch.setattr("benchmarks.gpu.time.monotonic", lambda: next(minutes))
    run("-m", "benchmarks.gpu", "--dry-run", "--minutes", "3", "--parts", "group,detector", "--out", tmp_path)
    parts, _ = read(tmp_path)
    assert parts["group"]["status"] == "cut short: no time left"
    assert len(parts["group"]["rows"]) == 1
    assert parts["detector"]["status"] == "not begun: no time left"


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--dry-run", "--parts", "gruop"], "unknown parts gruop; known are group, "), ([], "torch sees no GPU here")],
)
def test_what_cannot_run_is_said(run, tmp_path, words, said):
    done = run("-m", "benchmarks.gpu", *words, "--out", tmp_path / "out", check=False)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_wheels_to_carry_are_those_of_the_lock():
    lock = dict(re.findall(r"^([\w-]+)==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE))
    wheels = re.findall(
        r"^([\w-]+)==(\S+)$", (ROOT / "benchmarks/gpu-wheels.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(wheels) > 8
    assert {name: lock[name] for name, _ in wheels} == dict(wheels)
