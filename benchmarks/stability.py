"""What `inference.predict --stability` costs, as a whole process beside one without it, on one video.

The floor for the six forms with the two shipped networks: they see some 35 frames of each face in each form, as they do
in the clip as it is. So that is six times the networks' seconds, the recoding of 35 small squares each, another
decoding, and 35 frames through the detector. The networks take .7 of 5 seconds on a 300-frame 1080p clip of one face,
so 1 + (6 x .7 + 2) / 5 = 2.2.

    python -m benchmarks.stability VIDEO [--repeat 3]
"""

import argparse
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import seconds
from pretrain.clips import clip


def score(video: Path, *more: str) -> None:
    """Score the video in a process of its own."""
    with TemporaryDirectory() as folder:
        command = ["-m", "inference.predict", str(video), "--output", f"{folder}/s.csv", *more]
        subprocess.run([sys.executable, *command], check=True, capture_output=True)


def main() -> None:
    """Take turns, print medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, nargs="?", metavar="VIDEO", help="default: a sample clip of 640x360")
    parser.add_argument("--repeat", type=int, default=3, metavar="REPEAT")
    options = parser.parse_args()
    video: Path = options.video or clip("single_face.mp4")
    spent: dict[tuple[str, ...], list[float]] = {(): [], ("--stability",): []}
    for _ in range(options.repeat):
        for more, times in spent.items():
            times.append(seconds(partial(score, video, *more)))
    plain, stable = (statistics.median(times) for times in spent.values())
    print(f"{video.name}: {plain:.1f} s, with --stability {stable:.1f} s: {stable / plain:.2f} times")


if __name__ == "__main__":
    main()
