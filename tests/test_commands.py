"""Every command, started for real: it helps, and its options mean what they mean elsewhere."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import ROOT

COMMANDS = (
    *("extract_frames.py", "detect_faces.py", "save_aligned_faces.py", "preprocess.py"),
    *("make_lists.py", "make_crop_lists.py", "pretrain.download", "demo"),
    *("image_based.main", "video_based.main", "training.plot", "training.state"),
    *("inference.predict", "inference.merge", "inference.members", "inference.checkpoints"),
    *("inference.serve", "inference.verify", "inference.compare_clips", "quality.export"),
    *("quality.evaluate", "quality.robustness", "quality.crops", "quality.sets", "quality.leaks", "quality.ship"),
    *("quality.benchmark", "quality.compare", "quality.where", "quality.published", "quality.queue"),
    *("benchmarks.preprocess", "benchmarks.networks", "benchmarks.inference", "benchmarks.crops_on_disk"),
    *("benchmarks.reading", "benchmarks.runtimes", "benchmarks.whole", "benchmarks.card", "benchmarks.feeding"),
    *("benchmarks.stability", "benchmarks.since"),
)


@pytest.fixture(scope="module")
def helps():
    """What each command says of itself, by its name."""

    def ask(command):
        words = [command] if command.endswith(".py") else ["-m", command]
        return subprocess.run([sys.executable, *words, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(2) as two:
        return dict(zip(COMMANDS, two.map(ask, COMMANDS), strict=True))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_helps(helps, command):
    done = helps[command]
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) > 4


def test_no_command_is_left_out():
    """What ends in a call of its main is a command."""
    found = set()
    for path in (*ROOT.glob("*.py"), *ROOT.glob("*/*.py")):
        text = path.read_text(encoding="utf-8")
        if path.parent.name != "tests" and '\nif __name__ == "__main__":' in text:
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
            found.add(f"{name}.py" if path.parent == ROOT else name)
    without_options = {"demo.clips", "pretrain.retinaface", "benchmarks.loader"}  # the last needs albumentations
    assert found - without_options == set(COMMANDS)


def test_an_option_means_the_same_in_every_command(helps):
    """One name takes one kind of value, and no long option that helps has an underscore."""
    metavars = {}
    for command, done in helps.items():
        for option, metavar in re.findall(r"^  (?:-\w, )?--([\w-]+)(?: ([^ \n]+))?", done.stdout, re.MULTILINE):
            assert "_" not in option, (command, option)
            metavars.setdefault(option, {}).setdefault(metavar, []).append(command)
    assert len(metavars) > 40
    several = {option: set(found) for option, found in metavars.items() if len(found) > 1}
    del several["output"]  # what a command makes is a file of its own kind
    assert several == {
        "precision": {"{fp32,bf16}", "{fp32,tf32,fp16,bf16}"},  # training knows fewer
        "faces": {"DIR", "N"},  # folders of faces in training; at inference how many faces of a video
    }
    for option, metavar in {"weights": "FILE", "frames": "DIR", "list": "CSV", "labels": "TRUTH"}.items():
        assert list(metavars[option]) == [metavar]
