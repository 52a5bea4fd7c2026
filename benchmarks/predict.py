"""What `inference.predict` costs as a whole process: plain, with evidence, with --stability, and since a commit.

With --since the earlier commit is checked out into a temporary folder and runs in this environment, with the same
detector; --stability is left out then. All ways and both commits take turns. Beside the seconds stand those of all
cores, children included: the wall clock of a shared machine says little.

The floor of the ratio to an earlier commit is 1: what is computed only on demand costs nothing where nobody asks for
it. The floor of --stability with its six perturbations and the two shipped networks: they see some 35 frames of each
face in each perturbation, as in the clip itself. That is six times the networks' seconds, recoding 35 small squares
each, another decoding, and 35 frames through the detector. The networks take 0.7 of 5 seconds on a 300-frame 1080p clip
of one face, so 1 + (6 x 0.7 + 2) / 5 = 2.2.

    python -m benchmarks.predict [VIDEO ...] [--repeat 3] [--since COMMIT]
"""

import subprocess
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import Spent, parser, run, take_turns
from common.files import ROOT
from inference.settings import detector_weights
from pretrain.clips import clip

WAYS = {"plain": (), "with --evidence": ("--evidence", "evidence"), "with --stability": ("--stability",)}


def score(root: Path, videos: list[Path], words: tuple[str, ...]) -> Spent:
    """Score videos with the code in a folder; --weights is the option that earlier commits know, too."""
    with TemporaryDirectory() as folder:
        words = tuple(f"{folder}/{word}" if word == "evidence" else word for word in words)
        files = ("--output", f"{folder}/s.csv", "--weights", detector_weights().resolve())
        return run("-m", "inference.predict", *videos, *files, *words, folder=root)


def main() -> None:
    """Take turns, print medians and ratios."""
    command = parser(__doc__, repeat=3)
    command.add_argument("videos", type=Path, nargs="*", metavar="VIDEO", help="default: a sample clip of 640x360")
    command.add_argument("--since", metavar="COMMIT", help="compare with this commit")
    options = command.parse_args()
    videos = [video.resolve() for video in options.videos or [clip("single_face.mp4")]]
    with ExitStack() as stack:
        roots = {"now": ROOT}
        if options.since:
            roots[options.since] = Path(stack.enter_context(TemporaryDirectory())) / "earlier"
            worktree = ["git", "-C", str(ROOT), "worktree"]
            subprocess.run([*worktree, "add", "--detach", str(roots[options.since]), options.since], check=True)
            remove = [*worktree, "remove", "--force", str(roots[options.since])]
            stack.callback(partial(subprocess.run, remove, check=True))
            del WAYS["with --stability"]
        sides = {
            (way, commit): partial(score, root, videos, words)
            for way, words in WAYS.items()
            for commit, root in roots.items()
        }
        rounds = take_turns(sides, options.repeat)
    for (way, commit), spent in rounds.items():
        wall, cores = (median(round_[index] for round_ in spent) for index in (0, 1))
        plain, now = (
            median(own.cores / other.cores for own, other in zip(spent, rounds[side], strict=True))
            for side in (("plain", commit), (way, "now"))
        )
        print(f"{way}, {commit}: {wall:.2f} s, {cores:.2f} s of cores: {plain:.2f} times plain, {now:.3f} times now")


if __name__ == "__main__":
    main()
