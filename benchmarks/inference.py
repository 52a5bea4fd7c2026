"""Score whole videos with all eleven members, image by image as the reference does and our way, in one run, by stage.

"Serial" is this same code in one process, one video after another. It finds a video's faces on one core, then puts each
image and each clip through a network alone, at float32, and returns freed memory to the kernel. "Ours" is what
`inference.predict` does: worker processes find the next videos' faces while the networks score in batches, at
--precision, and freed memory is kept. The weights are random. The largest difference between both sides' scores is
printed. Loading counts on neither side.

Floors, on two cores and 300 frames of 1080p: decoding takes 2.3 s of a core, and detecting in 150 frames 3.2 s. The
networks' floor is 4.46 TFLOP over the rate of float32 matrix products, which is printed.

    python -m benchmarks.inference [VIDEO ...] [--copies 2] [--device cpu|cuda] [--precision fp16]
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

import pretrain.retinaface
from benchmarks import TERAFLOP, matmul_rate
from benchmarks.networks import random_members
from common.command import DEVICES, pick_device
from common.memory import keep_freed_memory
from common.stage import folder_parser
from common.workers import Workers
from faces.detector import default_weights
from inference.members import MEMBERS, Member, crop_kinds
from inference.networks.runtimes import VIDEOS_TOGETHER, Networks
from inference.networks.torch_networks import networks_of
from inference.sampling.look import Wanted, sample
from inference.sampling.sampled import Sampled
from inference.scorer import Video, find, score
from inference.scoring import Score
from inference.settings import PRECISIONS, Settings, Setup
from pretrain.clips import clip

WALL = "everything, wall"  # the stage that is all of it
Loaded = Mapping[str, tuple[Member, nn.Module]]


class Side(NamedTuple):
    """The members' scores by video, and the seconds of each stage."""

    scores: dict[str, list[float | None]]
    stages: dict[str, float]


Way = Callable[[list[Video], Setup, Loaded], Side]


def side(found: Iterable[tuple[Video, Mapping[str, float], Mapping[str, Score]]], networks: Networks) -> Side:
    """Put videos together, of which each gives the seconds of its stages and its scores, with the networks' seconds."""
    scores: dict[str, list[float | None]] = {}
    stages: dict[str, float] = {}
    for video, spent, members in found:
        scores[video.name] = [member.value for member in members.values()]
        for stage, took in spent.items():
            stages[stage] = stages.get(stage, 0.0) + took
    return Side(scores, stages | dict(networks.seconds))


def setup_of(members: Mapping[str, Member], device: str, precision: str = "fp32") -> Setup:
    """How members score on a device, in PyTorch."""
    return Setup(Settings(precision=precision), members, (), default_weights(), device)


def look(video: Path, setup: Setup) -> Sampled:
    """What a worker process sees in a video, without a worker process."""
    return sample(video, Wanted(setup.settings, crop_kinds(setup.members.values()), setup.detector_weights))[0]


def serial(videos: list[Video], setup: Setup, members: Loaded) -> Side:
    """Score the serial way."""
    networks = networks_of(members, setup.device, limits=dict.fromkeys(members, 1))
    samples = ((video, look(video.path, setup)) for video in videos)
    found = ((video, sampled.seconds, networks.scores([sampled.faces])[0]) for video, sampled in samples)
    return side(found, networks)


def ours(videos: list[Video], setup: Setup, members: Loaded) -> Side:
    """Score as `inference.predict` does."""
    loading: Future[Networks] = Future()
    loading.set_result(networks_of(members, setup.device, setup.settings.precision))
    found = []
    with Workers(min(setup.settings.workers, len(videos))) as workers:
        together = VIDEOS_TOGETHER[setup.device]
        for (video, outcome), scores, _ in score(find(videos, setup, workers), loading, together):
            if isinstance(outcome, Exception):
                raise outcome
            found.append((video, outcome[0].seconds, scores[0]))
    return side(found, loading.result())


def timed(way: Way, videos: list[Video], setup: Setup, members: Loaded) -> Side:
    """A way's scores and stages, and its wall-clock seconds as one more stage; its first run does not count."""
    way(videos[:1], setup, members)
    began = time.perf_counter()
    result = way(videos, setup, members)
    result.stages[WALL] = time.perf_counter() - began
    return result


def main() -> None:
    """Print the table."""
    parser = folder_parser(__doc__)
    parser.add_argument("videos", nargs="*", type=Path, metavar="VIDEO", help="default: a clip of the demo")
    parser.add_argument("--copies", type=int, default=2, metavar="N", help="scores of each video (default: 2)")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of our side")
    options = parser.parse_args()
    pretrain.retinaface.make()
    device = pick_device(options.device)
    setup = setup_of(MEMBERS, device, options.precision)
    paths = options.videos or [clip("single_face.mp4")]
    videos = [Video(f"{copy}/{path.name}", path) for copy in range(options.copies) for path in paths]
    members = random_members(device)
    rate = matmul_rate(device) / 1000
    print(f"{device}, {torch.get_num_threads()} threads, {setup.settings.workers} workers; matrix products", end=" ")
    print(f"{rate:.3f} TFLOP/s: the networks' floor is {TERAFLOP / rate:.1f} s for 150 frames of one face")
    sides: list[Side] = []
    for way in (serial, ours):
        if way is ours:
            keep_freed_memory()
        sides.append(timed(way, videos, setup, members))
    before, after = sides
    print(f"\n{len(videos)} videos, seconds per video\n{'':<18}{'serial':>9}{'ours':>9}{'ratio':>8}")
    for stage, took in before.stages.items():
        now = after.stages[stage]
        print(f"{stage:<18}{took / len(videos):>9.2f}{now / len(videos):>9.2f}{took / max(now, 1e-9):>8.2f}")
    differences = [
        abs(alone - batched)
        for video in before.scores
        for alone, batched in zip(before.scores[video], after.scores[video], strict=True)
        if alone is not None and batched is not None
    ]
    print(f"largest difference of a member's score: {max(differences):.1e}")


if __name__ == "__main__":
    main()
