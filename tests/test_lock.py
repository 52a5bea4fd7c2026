"""requirements.lock fits requirements*.txt, and one command installs it."""

import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
INSTALL = "pip install --no-deps --require-hashes -r requirements.lock"
SET_UP_BY_MAKE = Path(sys.prefix).resolve() == (ROOT / ".venv").resolve()
CHANGED = "requirements changed since the lock was resolved: run make lock"
ENVIRONMENTS = [
    {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "platform_python_implementation": "CPython",
        "sys_platform": system,
        "platform_machine": machine,
    }
    for python in ("3.11", "3.12", "3.13")
    for system, machine in (
        ("linux", "x86_64"),
        ("linux", "aarch64"),
        ("darwin", "arm64"),
        ("win32", "AMD64"),
    )
]


@dataclass
class Locked:
    """An entry of the lock; `asked` says whether requirements*.txt name it themselves."""

    name: str
    version: str
    line: Requirement
    hashes: int
    asked: bool


def lock() -> list[Locked]:
    text = (ROOT / "requirements.lock").read_text()
    entries = []
    for block in re.split(r"\n(?=[^\s#])", text)[1:]:  # what stands before the first is the header
        line = Requirement(block.partition("\\\n")[0])
        (pin,) = line.specifier
        assert pin.operator == "==", block
        hashes = len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", block))
        asked = "-r requirements" in block
        entries.append(Locked(canonicalize_name(line.name), pin.version, line, hashes, asked))
    return entries


def requirements() -> list[Requirement]:
    text = "\n".join(file.read_text() for file in ROOT.glob("requirements*.txt"))
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-r ")]


def applies(requirement: Requirement, environment: dict[str, str]) -> bool:
    return requirement.marker is None or requirement.marker.evaluate(environment)


def disagreements(wanted: list[Requirement], entries: list[Locked]) -> list[str]:
    """What is wanted and not locked, and what is locked as wanted and is not."""
    asked = [entry for entry in entries if entry.asked]
    names = {canonicalize_name(line.name) for line in wanted}
    problems = [f"{entry.name} is no longer required" for entry in asked if entry.name not in names]
    for line in wanted:
        candidates = [entry for entry in asked if entry.name == canonicalize_name(line.name)]
        for environment in ENVIRONMENTS:
            versions = {e.version for e in candidates if applies(e.line, environment)}
            fits = versions and all(version in line.specifier for version in versions)
            if applies(line, environment) and not fits:
                problems.append(f"{line} is wanted, {', '.join(versions) or 'nothing'} is locked")
                break
    return problems


def test_the_lock_fits_the_requirements():
    problems = disagreements(requirements(), lock())
    assert not problems, f"{CHANGED}\n" + "\n".join(problems)


ADDED = [
    "albumentations>=2",
    "idna",  # locked, but for another's sake
    "av>=1000",
    "winsound2; sys_platform == 'win32'",
]


@pytest.mark.parametrize("line", ADDED)
def test_a_new_requirement_shows(line):
    (problem,) = disagreements([*requirements(), Requirement(line)], lock())
    assert problem.startswith(f"{Requirement(line)} is wanted, ")


def test_a_dropped_requirement_shows():
    wanted = [line for line in requirements() if line.name != "PyYAML"]
    assert disagreements(wanted, lock()) == ["pyyaml is no longer required"]


def test_the_lock_keeps_what_pyproject_tells_uv():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]
    versions = {entry.name: entry.version for entry in lock()}
    for constraint in map(Requirement, told["constraint-dependencies"]):
        assert versions[constraint.name] in constraint.specifier, CHANGED
    for package in told["dependency-metadata"]:
        assert versions[package["name"]] == package["version"], CHANGED


def test_every_entry_has_hashes():
    assert not [entry.name for entry in lock() if not entry.hashes]


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda e: " ".join(e.values()))
def test_no_environment_gets_two_versions(environment):
    names = [entry.name for entry in lock() if applies(entry.line, environment)]
    assert len(names) == len(set(names))


def test_one_command_installs_the_lock():
    """The README, the Makefile and the documents name the same."""
    found = {}
    patterns = ("requirements*.txt", "*.md", "*/*.md")
    texts = {str(file.relative_to(ROOT)): file.read_text() for pattern in patterns for file in ROOT.glob(pattern)}
    make = ["make", "--dry-run", "--always-make", ".venv/installed"]
    texts["Makefile"] = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name, text in texts.items():
        commands = re.findall(r"pip install [^\n`|#]*requirements\.lock", text)
        if commands:
            found[name] = {" ".join(command.replace(" --quiet", "").split()) for command in commands}
    assert {"README.md", "Makefile"} <= set(found)
    assert set.union(*found.values()) == {INSTALL}, found


def test_the_small_environment_has_the_versions_of_the_whole_one():
    """So scores are the same, and one lock is tested with the other."""
    small, whole = (
        set(re.findall(r"^([\w.-]+==[\w.]+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements-score.lock", "requirements.lock")
    )
    assert len(small) > 15
    assert small <= whole


@pytest.mark.skipif(not SET_UP_BY_MAKE, reason="make did not set up this Python")
def test_pip_takes_the_lock_and_has_all_of_it_installed():
    """With no index to look into, pip fails at whatever is not installed in the locked version."""
    command = [sys.executable, "-m", *INSTALL.split(), "--dry-run", "--no-index", "--isolated"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run make -B .venv/installed\n{done.stderr}"
    assert "Would install" not in done.stdout


def test_a_half_made_environment_is_made_anew(tmp_path):
    """By an interrupted make, or a Debian without python3-venv: there is a Python without pip."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.lock").write_text("")
    half = tmp_path / ".venv/bin/python"
    half.parent.mkdir(parents=True)
    half.write_text("#!/bin/sh\nexit 1\n")
    maker = tmp_path / "maker"
    makes = (
        "echo made >> log",
        "mkdir -p .venv/bin",
        'printf "#!/bin/sh\\n" > .venv/bin/python',
        "chmod +x .venv/bin/python",
    )
    maker.write_text("\n".join(["#!/bin/sh", *makes]) + "\n")
    for file in (half, maker):
        file.chmod(0o755)
    for _ in range(2):
        subprocess.run(["make", ".venv/installed", f"PYTHON={maker}"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "log").read_text() == "made\n"  # once: the second make found it whole


def test_shell_scripts_end_their_lines_as_a_shell_reads_them():
    scripts = ["train.sh", "train.sbatch", "training/launch.sh", "Makefile", ".ci/run"]
    words = ["git", "check-attr", "eol", "--", *scripts]
    done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{script}: eol: lf" for script in scripts]
