"""Score whole videos with all eleven members, serially as the reference does and our way, in one run, by stage.

"Serial" is this same code in one process, one video after another. It finds a video's faces on one core, then puts each
image and each clip through a network alone, at float32, and returns freed memory to the kernel. "Ours" is what
`inference.predict` does. Worker processes find the next videos' faces while the networks score in batches, at
--precision, and freed memory is kept. The weights are random. The largest difference between both sides' scores is
printed. Loading is not counted on either side.

Floors, on two cores and 300 frames of 1080p: decoding takes 2.3 s of a core, and detecting in 150 frames 3.2 s. The
networks' floor is 4.46 TFLOP over the rate of float32 matrix products, which is printed.

    python -m benchmarks.inference [VIDEO ...] [--copies 2] [--device cpu|cuda] [--precision fp16]
"""

import argparse
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path

import torch
from torch import nn

import pretrain.retinaface
from common.command import DEVICES, pick_device
from common.memory import keep_freed_memory
from common.workers import Workers
from faces.detector import default_weights
from inference.members import MEMBERS, Member, crop_kinds
from inference.networks.fold import fastest
from inference.networks.runtimes import VIDEOS_TOGETHER, Networks
from inference.networks.torch_networks import BUILD, networks_of, small_input
from inference.sampling.look import Wanted, sample
from inference.scorer import Video, find, score
from inference.scoring import Score
from inference.settings import PRECISIONS, Settings, Setup
from pretrain.clips import clip

TERAFLOP = 4.46  # of the eleven members on 150 frames of one face
Scores = dict[str, dict[str, float | None]]
Loaded = Mapping[str, tuple[Member, nn.Module]]


class Seconds(dict[str, float]):
    """Seconds by stage."""

    def add(self, more: Mapping[str, float]) -> None:
        """Add the seconds of another video."""
        for stage, seconds in more.items():
            self[stage] = self.get(stage, 0.0) + seconds


def matmul_rate(device: str) -> float:
    """TFLOP/s of 2048x2048 float32 matrix products."""
    matrix = torch.randn(2048, 2048, device=device)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        (matrix @ matrix)[0, 0].item()
        best = min(best, time.perf_counter() - began)
    return 2 * 2048**3 / best / 1e12


def serial(videos: list[Video], setup: Setup, members: Loaded) -> tuple[Scores, Seconds]:
    """Score the serial way; return the scores and the seconds of each stage."""
    networks = networks_of(members, setup.device, limits=dict.fromkeys(members, 1))
    scores, spent = {}, Seconds()
    for video in videos:
        kinds = crop_kinds(setup.members.values())
        (found,) = sample(video.path, Wanted(setup.settings, kinds, setup.detector_weights))
        spent.add(found.seconds)
        scores[video.name] = values(networks.scores([found.faces])[0])
    spent.add(networks.seconds)
    return scores, spent


def ours(videos: list[Video], setup: Setup, members: Loaded) -> tuple[Scores, Seconds]:
    """Score as `inference.predict` does; return the scores and the seconds of each stage."""
    networks: Future[Networks] = Future()
    networks.set_result(networks_of(members, setup.device, setup.settings.precision))
    scores, spent = {}, Seconds()
    with Workers(min(setup.settings.workers, len(videos))) as workers:
        for (video, outcome), result, _ in score(find(videos, setup, workers), networks, VIDEOS_TOGETHER[setup.device]):
            if isinstance(outcome, Exception):
                raise outcome
            spent.add(outcome[0].seconds)
            scores[video.name] = values(result[0])
    spent.add(networks.result().seconds)
    return scores, spent


def values(scores: Mapping[str, Score]) -> dict[str, float | None]:
    """The numbers of Scores."""
    return {name: score.value for name, score in scores.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path, metavar="VIDEO", help="default: a clip of the demo")
    parser.add_argument("--copies", type=int, default=2, help="how often each video is scored (default: 2)")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of our side")
    options = parser.parse_args()
    pretrain.retinaface.main()
    device = pick_device(options.device)
    setup = Setup(Settings(precision=options.precision), MEMBERS, (), default_weights(), device)
    paths = options.videos or [clip("single_face.mp4")]
    videos = [Video(f"{copy}/{path.name}", path) for copy in range(options.copies) for path in paths]
    torch.manual_seed(0)
    members = {
        name: (member, fastest(BUILD[member.branch](member.arch), small_input(member.branch)).to(device))
        for name, member in MEMBERS.items()
    }
    rate = matmul_rate(device)
    print(f"{device}, {torch.get_num_threads()} threads, {setup.settings.workers} workers; ", end="")
    print(f"matrix products {rate:.3f} TFLOP/s: ", end="")
    print(f"the networks' floor is {TERAFLOP / rate:.1f} s for 150 frames of one face")
    sides: dict[str, Seconds] = {}
    wall: dict[str, float] = {}
    scores: dict[str, Scores] = {}
    for side, way in (("serial", serial), ("ours", ours)):
        if side == "ours":
            keep_freed_memory()
        way(videos[:1], setup, members)  # takes what only a first run costs
        began = time.perf_counter()
        scores[side], sides[side] = way(videos, setup, members)
        wall[side] = time.perf_counter() - began
    print(f"\n{len(videos)} videos, seconds a video\n{'':<18}{'serial':>9}{'ours':>9}{'ratio':>8}")
    for stage in sides["serial"]:
        before, after = (sides[side][stage] / len(videos) for side in ("serial", "ours"))
        print(f"{stage:<18}{before:>9.2f}{after:>9.2f}{before / max(after, 1e-9):>8.2f}")
    print(f"{'everything, wall':<18}{wall['serial'] / len(videos):>9.2f}{wall['ours'] / len(videos):>9.2f}", end="")
    print(f"{wall['serial'] / wall['ours']:>8.2f}")
    differences = [
        abs(before - after)
        for video in videos
        for before, after in zip(*(side[video.name].values() for side in scores.values()), strict=True)
        if before is not None and after is not None
    ]
    print(f"largest difference of a member's score: {max(differences):.1e}")


if __name__ == "__main__":
    main()
