"""How well workers feed a card, by simulation: the real scheduling and transfers, with sleeps for the work itself.

A worker sleeps as long as it takes to find a video's faces, and hands over the crops of a real video, for all eleven
members. The networks sleep as long as a card takes. What is real is what could be lost between the two: the queue, the
limit of videos under way, the pickling and copying of some 40 MB a video, the groups of four videos.

The floor is the slower of the two sides: seconds of a core over the number of workers, or the card's seconds. "Reached"
is that floor over what a video took. Videos take half to one and a half times as long as their mean, so that workers
are not in step. The first videos and the last ones do not count: there the workers begin together, and end one by one.

Two tables: faces found on the CPU (decoding 2.3 s of a core and detecting 3.2 s in 150 of 300 frames of 1080p, as
benchmarks.inference measures), and detection on the card (the workers only decode, the card takes --detect longer).
The second moves the floor only where the networks take less than what the workers save.

On 26 November every row reached 98 % or more. With two spare videos instead of four it was 95 % at .3 s: networks that
take four videos at a time leave workers idle, if fewer than four wait for them.

    python -m benchmarks.feeding [--workers 16] [--decode 2.3] [--find 5.5] [--detect 0.2] [--count 64]
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import numpy as np

import pretrain.retinaface
from common.command import positive
from common.workers import Workers
from faces.detector import default_weights
from inference.members import MEMBERS, crop_kinds
from inference.networks.runtimes import VIDEOS_TOGETHER, Networks
from inference.sampling.look import Wanted, sample
from inference.sampling.sampled import Face, Sampled
from inference.scorer import Found, Video, score, under_way
from inference.scoring import Score
from inference.settings import Settings
from pretrain.clips import clip

NETWORKS = (0.05, 0.1, 0.2, 0.3, 0.4)  # seconds of a card for a video

kept: dict[str, list[Sampled]] = {}  # of this process


def pretend(video: Path, wanted: Wanted, seconds: float) -> list[Sampled]:
    """Sleep for the seconds of finding faces, and hand over a real video's."""
    if "found" not in kept:
        kept["found"] = sample(video, wanted)
        return kept["found"]
    time.sleep(seconds)
    return kept["found"]


class Card:
    """Networks that sleep."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def scores(self, videos: Sequence[Sequence[Face]], _: Callable[[int], None]) -> list[dict[str, Score]]:
        """Take `seconds` for each video."""
        time.sleep(self.seconds * len(videos))
        return [{} for _ in videos]


def seconds_a_video(workers: Workers, wanted: Wanted, finding: float, card: float, videos: int) -> float:
    """Seconds of a video while all workers are at work; there are twice as many more videos as workers."""
    spreads = np.random.RandomState(0).uniform(0.5, 1.5, videos + 2 * workers.count)
    spreads /= spreads.mean()
    together = VIDEOS_TOGETHER["cuda"]
    path = clip("single_face.mp4")
    loading: Future[Networks] = Future()
    loading.set_result(cast("Any", Card(card)))

    def found() -> Iterator[Found]:
        jobs: dict[str, tuple[Any, ...]] = {
            str(number): (path, wanted, finding * spread) for number, spread in enumerate(spreads)
        }
        for number, outcome in workers.run(pretend, jobs, ahead=under_way(workers, together)):
            yield Found(Video(number, path), outcome)

    ends = [time.monotonic() for _ in score(found(), loading, together)]
    return (ends[-1 - workers.count] - ends[workers.count - 1]) / videos


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=positive, default=16, metavar="N", help="processes (default: 16)")
    parser.add_argument("--decode", type=float, default=2.3, metavar="S", help="of a core, a video (default: 2.3)")
    parser.add_argument("--find", type=float, default=5.5, metavar="S", help="decode and detect (default: 5.5)")
    parser.add_argument("--detect", type=float, default=0.2, metavar="S", help="of a card, a video (default: 0.2)")
    parser.add_argument("--count", type=positive, default=64, metavar="N", help="videos of each row (default: 64)")
    options = parser.parse_args()
    pretrain.retinaface.main()
    wanted = Wanted(Settings(), crop_kinds(MEMBERS.values()), default_weights())
    with Workers(options.workers) as workers:
        seconds_a_video(workers, wanted, 0.5, 0.0, 2 * options.workers)  # every worker gets its video
        for where, finding, more in (("CPU", options.find, 0.0), ("card", options.decode, options.detect)):
            print(f"\ndetection on the {where}: {options.workers} workers, {finding} s of a core a video", flush=True)
            print(f"{'networks':>10}{'card':>8}{'floor':>8}{'took':>8}{'reached':>9}")
            for networks in NETWORKS:
                card = networks + more
                floor = max(finding / options.workers, card)
                took = seconds_a_video(workers, wanted, finding, card, options.count)
                print(f"{networks:>9}s{card:>8.2f}{floor:>8.3f}{took:>8.3f}{floor / took:>9.1%}", flush=True)


if __name__ == "__main__":
    main()
