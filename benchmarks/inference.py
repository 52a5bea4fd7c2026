"""Scoring whole videos with all eleven members: the serial way of the reference against ours, in one run, with the
seconds a stage.

Serial: this same code in one process, one video after another: find its faces on one core, then each image and each
clip through a network alone, at float32, freed memory handed back to the kernel. Ours is what `inference.predict` does:
worker processes find the next videos' faces while the networks score in batches, at --precision, freed memory kept.
Weights are random; how far the scores of both sides differ is printed.

Floors, on two cores and 300 frames of 1080p: decoding 2.3 s and detecting in 150 frames 3.2 s of a core each, and the
networks' 4.46 TFLOP over the rate of float32 matrix products, printed here. Loading is not counted on either side.

    python benchmarks/inference.py [VIDEO ...] [--copies 2] [--device cpu|cuda] [--precision fp16]
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import pretrain.retinaface  # noqa: E402
from common.device import CHOICES, keep_freed_memory, pick_device  # noqa: E402
from common.stage import cores  # noqa: E402
from demo.clips import clip  # noqa: E402
from faces.detector import default_weights  # noqa: E402
from faces.video import in_batches  # noqa: E402
from inference.fold import fastest  # noqa: E402
from inference.members import BRANCHES, MEMBERS, crop_kinds, small_input  # noqa: E402
from inference.networks import PRECISIONS, VIDEOS_TOGETHER, Networks  # noqa: E402
from inference.predict import outcomes  # noqa: E402
from inference.sampled import sample  # noqa: E402
from inference.scoring import VIDEO_FRAMES  # noqa: E402

TERAFLOP = 4.46  # of the eleven members on 150 frames of one face
Scores = dict[str, dict[str, float | None]]


def matmul_rate(device: str) -> float:
    """TFLOP/s of 2048x2048 float32 matrix products."""
    matrix = torch.randn(2048, 2048, device=device)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        (matrix @ matrix)[0, 0].item()
        best = min(best, time.perf_counter() - began)
    return 2 * 2048**3 / best / 1e12


def serial(videos: dict[str, Path], members: dict, options: argparse.Namespace) -> tuple[Scores, Counter]:
    """Scores, and the seconds of each stage."""
    networks = Networks(members, options.device, "fp32", dict.fromkeys(members, 1))
    kinds = crop_kinds(member for member, _ in members.values())
    scores, spent = {}, Counter()
    for name, path in videos.items():
        video = sample(path, kinds, VIDEO_FRAMES, options.weights, 1, False)
        spent.update(video.seconds)
        scores[name] = values(networks.scores([video.faces])[0])
    return scores, spent + networks.seconds


def ours(videos: dict[str, Path], members: dict, options: argparse.Namespace) -> tuple[Scores, Counter]:
    """The same as `inference.predict` does it."""
    networks = Networks(members, options.device, options.precision)
    scores, spent = {}, Counter()
    found = outcomes(videos, options, {name: member for name, (member, _) in members.items()})
    for group in in_batches(found, VIDEOS_TOGETHER[options.device]):
        for (name, video), result in zip(group, networks.scores([video.faces for _, video in group]), strict=True):
            spent.update(video.seconds)
            scores[name] = values(result)
    return scores, spent + networks.seconds


def values(scores: dict) -> dict[str, float | None]:
    """The numbers of Scores."""
    return {name: score.value for name, score in scores.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path, metavar="VIDEO", help="default: a clip of the demo")
    parser.add_argument("--copies", type=int, default=2, help="how often each video is scored (default: 2)")
    parser.add_argument("--device", choices=CHOICES, default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of our side")
    options = parser.parse_args()
    pretrain.retinaface.main()
    options.device, options.weights = pick_device(options.device), default_weights()
    options.frames, options.workers, options.evidence = VIDEO_FRAMES, cores(), None
    paths = options.videos or [clip("single_face.mp4")]
    videos = {f"{copy}/{path.name}": path for copy in range(options.copies) for path in paths}
    torch.manual_seed(0)
    members = {
        name: (member, fastest(BRANCHES[member.branch](member.arch), small_input(member.branch)).to(options.device))
        for name, member in MEMBERS.items()
    }
    rate = matmul_rate(options.device)
    print(
        f"{options.device}, {torch.get_num_threads()} threads, {options.workers} workers; matrix products {rate:.3f} TFLOP/s: ",
        end="",
    )
    print(f"the networks' floor is {TERAFLOP / rate:.1f} s for 150 frames of one face")
    sides, wall, scores = {}, {}, {}
    for side, way in (("serial", serial), ("ours", ours)):
        if side == "ours":
            keep_freed_memory()
        way(dict(list(videos.items())[:1]), members, options)  # what a first run alone costs
        began = time.perf_counter()
        scores[side], sides[side] = way(videos, members, options)
        wall[side] = time.perf_counter() - began
    print(f"\n{len(videos)} videos, seconds a video\n{'':<18}{'serial':>9}{'ours':>9}{'ratio':>8}")
    for stage in sides["serial"]:
        before, after = (sides[side][stage] / len(videos) for side in ("serial", "ours"))
        print(f"{stage:<18}{before:>9.2f}{after:>9.2f}{before / max(after, 1e-9):>8.2f}")
    print(f"{'everything, wall':<18}{wall['serial'] / len(videos):>9.2f}{wall['ours'] / len(videos):>9.2f}", end="")
    print(f"{wall['serial'] / wall['ours']:>8.2f}")
    differences = [
        abs(scores["serial"][video][name] - value)
        for video in videos
        for name, value in scores["ours"][video].items()
        if value is not None
    ]
    print(f"largest difference of a member's score: {max(differences):.1e}")


if __name__ == "__main__":
    main()
