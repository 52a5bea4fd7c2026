"""What a plain `inference.predict`, or one with evidence, costs since an earlier commit: whole processes in turn.

The earlier commit is checked out into a temporary folder and runs in this environment, with the same detector. The
figure is the seconds of all cores, children included, because the wall clock of a shared machine says little. The floor
of the ratio is 1: what is computed only on demand costs nothing where nobody asks for it.

    python -m benchmarks.since COMMIT VIDEO ... [--repeat 5]
"""

import argparse
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from inference.settings import detector_weights

ROOT = Path(__file__).parents[1]
WAYS = {"plain": (), "with --evidence": ("--evidence", "evidence")}


def spent(root: Path, videos: list[Path], more: tuple[str, ...]) -> float:
    """The seconds of all cores that scoring takes with the code in a folder."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with TemporaryDirectory() as folder:
        words = [f"{folder}/{word}" if word == "evidence" else word for word in more]
        weights = str(detector_weights().resolve())
        command = ["-m", "inference.predict", *map(str, videos), "--output", f"{folder}/s.csv", "--weights", weights]
        subprocess.run([sys.executable, *command, *words], cwd=root, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Check the commit out, take turns, print medians and the median of the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", metavar="COMMIT")
    parser.add_argument("videos", type=Path, nargs="+", metavar="VIDEO")
    parser.add_argument("--repeat", type=int, default=5, metavar="REPEAT")
    options = parser.parse_args()
    videos = [video.resolve() for video in options.videos]
    with TemporaryDirectory() as folder:
        old = Path(folder) / "old"
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "--detach", old, options.commit], check=True)
        try:
            for way, more in WAYS.items():
                turns = [(spent(old, videos, more), spent(ROOT, videos, more)) for _ in range(options.repeat)]
                before, now = (statistics.median(side) for side in zip(*turns, strict=True))
                ratio = statistics.median(new / earlier for earlier, new in turns)
                print(f"{way}: {before:.2f} s at {options.commit}, {now:.2f} s now: {ratio:.3f} times", flush=True)
        finally:
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", old], check=True)


if __name__ == "__main__":
    main()
