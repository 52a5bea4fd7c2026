"""Every command, run as its own program: it helps, and its options mean what they mean elsewhere."""

import json
import re
import subprocess
import sys

import pytest
import yaml

from common.version import NAME, VERSION
from tests.conftest import ROOT

COMMANDS = (
    *("extract_frames.py", "detect_faces.py", "save_aligned_faces.py", "preprocess.py"),
    *("make_lists.py", "make_crop_lists.py", "demo"),
    *("pretrain.clips", "pretrain.download", "pretrain.retinaface"),
    *("image_based.main", "video_based.main", "training.missing", "training.plot", "training.state"),
    *("inference.predict", "inference.merge", "inference.collect", "inference.members"),
    *("forensics.serve", "inference.verify", "inference.bundle", "forensics.compare", "inference.networks.export"),
    *("quality.evaluate", "quality.robustness", "shipped.sets", "quality.sets.leaks", "shipped.release"),
    *("quality.benchmark", "quality.compare", "quality.schemas", "shipped.maps", "forensics.queue"),
    *("benchmarks.preprocess", "benchmarks.networks", "benchmarks.inference", "benchmarks.crops_on_disk"),
    *("benchmarks.reading", "benchmarks.runtimes", "benchmarks.whole", "benchmarks.gpu", "benchmarks.feeding"),
    *("benchmarks.predict", "benchmarks.history", "benchmarks.blends", "shipped.autoencoder", "training.average"),
    "benchmarks.scale",
    "benchmarks.screen",
)


# Runs each command of the words in a process of its own, with timm and scikit-learn loaded: that takes seconds. Each
# is asked to help, and then for its version.
ASK_ALL = """
import gc, json, os, runpy, sys, tempfile, timm, sklearn.metrics
gc.freeze()
sys.path.insert(0, os.getcwd())
leave, os._exit = os._exit, sys.exit  # a command ends by os._exit, but is asked twice

def ask(command, option):
    sys.argv = [command, option]
    try:
        if command.endswith(".py"):
            runpy.run_path(command, run_name="__main__")
        else:
            runpy.run_module(command, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code or 0
    return 0

def text(file):
    file.seek(0)
    return file.read().decode()

said = {}
for command in sys.argv[1:]:
    files = {option: [tempfile.TemporaryFile() for _ in range(3)] for option in ("--help", "--version")}
    if not os.fork():
        for option, (out, err, status) in files.items():
            os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
            os.write(status.fileno(), str(ask(command, option)).encode())
        leave(0)  # to take down what was loaded takes seconds too
    os.wait()
    said[command] = {option: (text(status), text(out), text(err)) for option, (out, err, status) in files.items()}
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def answers():
    """Status, stdout and stderr of each command, by its name and the option that it was asked with."""
    words = [sys.executable, "-c", ASK_ALL, *COMMANDS]
    return json.loads(subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(scope="module")
def helps(answers):
    """What each command says of itself."""
    return {command: said["--help"] for command, said in answers.items()}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_helps(helps, command):
    status, out, err = helps[command]
    assert (status, err) == ("0", "")
    assert len(out.splitlines()) > 4
    assert out.startswith("usage: ") and "__main__" not in out.splitlines()[0]


def test_every_command_tells_its_version(answers):
    line = rf"{re.escape(NAME)} {re.escape(VERSION)}, commit ([0-9a-f]{{40}}(-dirty)?|unknown)\n"
    versions = {command: said["--version"] for command, said in answers.items()}
    assert {command: version for command, version in versions.items() if not re.fullmatch(line, version[1])} == {}
    assert {(status, err) for status, _, err in versions.values()} == {("0", "")}


def test_one_version_everywhere():
    """The citation's, the changelog's newest, and that of a tag on this commit, if there is one."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.search(r"^## (\S+), (\S+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest and (newest[1], newest[2]) == (VERSION, str(citation["date-released"]))
    assert citation["version"] == VERSION
    words = ["git", "tag", "--points-at", "HEAD", "v*"]
    tags = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert tags in ([], [f"v{VERSION}"])


def tracked():
    """The Python files that git knows or would know."""
    words = ["git", "ls-files", "-co", "--exclude-standard", "*.py"]
    names = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def test_no_command_is_left_out():
    """What ends in a call of its main is a command."""
    found = set()
    for path in tracked():
        text = path.read_text(encoding="utf-8")
        if "tests" not in path.relative_to(ROOT).parts and '\nif __name__ == "__main__":' in text:
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
            found.add(f"{name}.py" if path.parent == ROOT else name)
    # One needs albumentations, one is started by quality/external.py, one only hands on to others.
    assert found - {"benchmarks.loader", "quality.detector_process", "forensics.app"} == set(COMMANDS)


def test_make_bench_runs_benchmarks_that_exist():
    """All of them, but the measurements that need a GPU."""
    (names,) = re.findall(r"for name in (.*); do .*benchmarks", (ROOT / "Makefile").read_text(encoding="utf-8"))
    commands = {path.stem for path in tracked() if path.parent.name == "benchmarks" and "def main" in path.read_text()}
    assert set(names.split()) == commands - {"gpu"}


def test_an_option_means_the_same_in_every_command(helps):
    """One name takes one kind of value, and no long option that helps has an underscore."""
    metavars = {}
    for command, (_, out, _) in helps.items():
        for option, metavar in re.findall(r"^  (?:-\w, )?--([\w-]+)(?: ([^ \n]+))?", out, re.MULTILINE):
            assert "_" not in option, (command, option)
            metavars.setdefault(option, {}).setdefault(metavar, []).append(command)
    assert len(metavars) > 40
    several = {option: set(found) for option, found in metavars.items() if len(found) > 1}
    del several["output"]  # what a command makes is a file of its own kind
    assert several == {
        "keep": {"K", "DIR"},  # checkpoints of a training; results of a server
        "precision": {"{fp32,bf16}", "{fp32,tf32,fp16,bf16}"},  # training knows fewer
    }
    for option, metavar in {"detector-weights": "FILE", "frames": "DIR", "list": "CSV", "labels": "TRUTH"}.items():
        assert list(metavars[option]) == [metavar]


PAGES = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("[a-z]*/README.md"), *ROOT.glob("*/*/README.md")]
LINE = re.compile(r"python3? (?:-m ([\w.]+)|(\w+\.py))([^`\n#|]*)")
OTHERS = {
    "pip",
    "pytest",
    "venv",
    "tensorboard.main",
    "torch.distributed.run",
    "benchmarks.loader",
    "http.server",
}  # not ours, or not installed


def test_every_command_of_the_documentation_exists_with_its_options(helps):
    """Each line of README and docs that starts a command of ours, copied out."""
    lines = [
        (page.relative_to(ROOT), match[1] or match[2], re.findall(r"(?<![\w-])--[a-z][\w-]*", match[3]))
        for page in PAGES
        for match in LINE.finditer(page.read_text(encoding="utf-8"))
    ]
    ours = [line for line in lines if line[1] not in OTHERS]
    assert len(ours) > 60
    assert [line for line in ours if line[1] not in helps] == []
    unknown = [
        (page, command, word) for page, command, words in ours for word in words if word not in helps[command][1]
    ]
    assert unknown == []
