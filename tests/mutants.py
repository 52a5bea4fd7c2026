"""Change code on purpose, one small change at a time, and see whether a test notices.

For each module, mutmut makes mutants (another comparison, operator, constant, argument) in a copy of the repository,
and runs the tests of that module that reach the changed function. A mutant that no test notices survives: a better
test is missing, or the change makes no difference. `make mutants` sets up mutmut's environment and runs this.

    .venv-tools/bin/python -m tests.mutants [faces/tracking.py ...]

Prints a table with a row per module, and on stderr the survivors as diffs.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]

# The tests that hold what each module promises. They are quick: each mutant runs those that reach its function.
TESTS = {
    "faces/boxes.py": ("geometry", "laws"),
    "faces/crops.py": ("geometry", "laws", "masks"),
    "faces/tracking.py": ("geometry", "laws"),
    "inference/scoring.py": ("scoring", "laws"),
    "inference/verdicts.py": ("calibration", "laws"),
    "make_lists.py": ("lists", "laws"),
    "quality/calibration.py": ("calibration", "recalibrating"),
    "quality/compare.py": ("compare",),
    "quality/measures.py": ("evaluate", "laws"),
    "quality/protocols.py": ("protocols",),
    "training/average.py": ("average",),
    "training/metrics.py": ("training",),
    "training/mixup.py": ("augment",),
    "training/ranges.py": ("blend",),
    "training/sampler.py": ("training", "laws"),
    "training/schedule.py": ("training", "laws"),
}
NOTICED = {"killed", "timeout", "caught by type check", "segfault"}
SETTINGS = """\
[tool.mutmut]
source_paths = ["{module}"]
also_copy = {everything}
pytest_add_cli_args = ["-m", "not slow", "-p", "no:cacheprovider"]
pytest_add_cli_args_test_selection = {tests}
process_isolation = "forkserver"
use_git_change_detection = false
"""


def copy_of_the_repository(folder: Path) -> list[str]:
    """Copy what git tracks, and the detector's weights; return the names at the top."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    weights = [str(path.relative_to(ROOT)) for path in (ROOT / "inference/face_detect_ckpt").glob("*.onnx")]
    for name in (*tracked.rstrip("\0").split("\0"), *weights):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return sorted(path.name for path in folder.iterdir() if path.name != "pyproject.toml")


def mutmut(folder: Path, *words: str) -> str:
    """What a command of mutmut prints. Raises RuntimeError with it if the command fails."""
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"mutmut {' '.join(words)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def examine(module: str) -> tuple[Counter[str], list[str]]:
    """How many mutants of a module ended in which way, and the diffs of those that no test noticed."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        everything = copy_of_the_repository(folder)
        tests = [f"tests/test_{name}.py" for name in TESTS[module]]
        with (folder / "pyproject.toml").open("a") as file:
            values = {"module": module, "everything": json.dumps(everything), "tests": json.dumps(tests)}
            file.write("\n" + SETTINGS.format(**values))
        mutmut(folder, "run")
        ended = dict(line.strip().rsplit(": ", 1) for line in mutmut(folder, "results", "--all", "true").splitlines())
        left = [mutmut(folder, "show", name) for name, how in ended.items() if how not in NOTICED]
        return Counter(ended.values()), left


def main(arguments: Sequence[str] | None = None) -> int:
    """Examine each module; return 1 if a mutant survived."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=list(TESTS), metavar="MODULE", help="default: all")
    modules = parser.parse_args(arguments).modules
    if unknown := [module for module in modules if module not in TESTS]:
        parser.error(f"{unknown[0]}: tests/mutants.py names no tests for it; known are {', '.join(TESTS)}")
    print("| module | mutants | not noticed | how they ended |\n|---|---|---|---|", flush=True)
    survivors = 0
    for module in modules:
        ended, left = examine(module)
        how = ", ".join(f"{count} {way}" for way, count in ended.most_common())
        print(f"| `{module}` | {ended.total()} | {len(left)} | {how} |", flush=True)
        print("", *left, sep="\n", file=sys.stderr, flush=True)
        survivors += len(left)
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
