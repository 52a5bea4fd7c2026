"""How well workers keep a GPU busy, simulated: the scheduling and transfers are real, the work itself is sleep.

A worker sleeps as long as finding a video's faces takes, and hands over the crops of a real video for all eleven
members. The networks sleep as long as a GPU takes. So whatever could be lost between the two is real: the queue, the
limit on videos under way, pickling and copying some 40 MB per video, and groups of four videos.

The floor is the slower side: the seconds of a core divided by the number of workers, or the GPU's seconds. "Reached" is
the floor divided by the time that a video took. Videos take between 0.5 and 1.5 times their mean, so that workers are
not in step. The first and last videos do not count, since the workers all start together and stop one by one.

There are two tables. In one, faces are found on the CPU: 2.3 s of a core for decoding and 3.2 s for detection in 150 of
300 frames of 1080p, as benchmarks.inference measures. In the other, the GPU detects: the workers only decode, and the
GPU takes --detect longer. This moves the floor only where the networks take less time than the workers save.

On 26 November every row reached 98% or more. With two spare videos instead of four it was 95% at 0.3 s, because
networks that take four videos at a time leave workers idle if fewer than four videos wait.

    python -m benchmarks.feeding [--workers 16] [--decode 2.3] [--find 5.5] [--detect 0.2] [--count 64]
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np

import pretrain.retinaface
from common.command import command_parser, positive
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

NETWORKS = (0.05, 0.1, 0.2, 0.3, 0.4)  # seconds of a GPU per video


@cache
def found_once(video: Path) -> list[Sampled]:
    """The faces of a video, found once in each worker process."""
    return sample(video, Wanted(Settings(), crop_kinds(MEMBERS.values()), default_weights()))


def pretend(video: Path, seconds: float) -> list[Sampled]:
    """Sleep as long as finding faces takes, and hand over those of a real video."""
    time.sleep(seconds)
    return found_once(video)


class SleepingNetworks:
    """Networks that sleep instead of scoring."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def scores(self, videos: Sequence[Sequence[Face]], _: Callable[[int], None]) -> list[dict[str, Score]]:
        """Take `seconds` for each video."""
        time.sleep(self.seconds * len(videos))
        return [{} for _ in videos]


def seconds_per_video(workers: Workers, finding: float, gpu: float, videos: int) -> float:
    """Seconds per video while all workers are busy. Two more videos per worker come before and after."""
    spreads = np.random.RandomState(0).uniform(0.5, 1.5, videos + 2 * workers.count)
    spreads /= spreads.mean()
    together = VIDEOS_TOGETHER["cuda"]
    path = clip("single_face.mp4")
    loading: Future[Networks] = Future()
    loading.set_result(cast("Any", SleepingNetworks(gpu)))

    def found() -> Iterator[Found]:
        jobs: dict[str, tuple[Any, ...]] = {
            str(number): (path, finding * spread) for number, spread in enumerate(spreads)
        }
        for number, outcome in workers.run(pretend, jobs, ahead=under_way(workers, together)):
            yield Found(Video(number, path), outcome)

    ends = [time.monotonic() for _ in score(found(), loading, together)]
    return (ends[-1 - workers.count] - ends[workers.count - 1]) / videos


def main() -> None:
    """Print both tables."""
    parser = command_parser(__doc__)
    parser.add_argument("--workers", type=positive, default=16, metavar="N", help="processes (default: 16)")
    parser.add_argument("--decode", type=float, default=2.3, metavar="S", help="of a core per video (default: 2.3)")
    parser.add_argument("--find", type=float, default=5.5, metavar="S", help="decode and detect (default: 5.5)")
    parser.add_argument("--detect", type=float, default=0.2, metavar="S", help="of a GPU per video (default: 0.2)")
    parser.add_argument("--count", type=positive, default=64, metavar="N", help="videos per row (default: 64)")
    options = parser.parse_args()
    pretrain.retinaface.make()
    with Workers(options.workers) as workers:
        seconds_per_video(workers, 0.5, 0.0, 2 * options.workers)  # every worker gets its video
        for where, finding, more in (("CPU", options.find, 0.0), ("GPU", options.decode, options.detect)):
            print(f"\ndetection on the {where}: {options.workers} workers, {finding} s of a core per video", flush=True)
            print(f"{'networks':>10}{'GPU':>8}{'floor':>8}{'took':>8}{'reached':>9}")
            for networks in NETWORKS:
                gpu = networks + more
                floor = max(finding / options.workers, gpu)
                took = seconds_per_video(workers, finding, gpu, options.count)
                print(f"{networks:>9}s{gpu:>8.2f}{floor:>8.3f}{took:>8.3f}{floor / took:>9.1%}", flush=True)


if __name__ == "__main__":
    main()
