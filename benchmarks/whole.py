"""One video with all eleven members as whole processes: plain PyTorch as the reference runs it, and our two runtimes.

"Plain" is one process on one video. It loads all networks, the detector sees each sampled frame alone, then all images
of a face with their mirror images go through a network at once, and the clip through the others. The networks, the
detector's too, are as they were built: eager, batch norms unfolded, memory as PyTorch lays it out by default. It
decodes, tracks and cuts in our way. That the reference sends images together is inferred: the contract records 5.8 GB
for it. This side takes 5 GB, and the reference keeps 150 frames of 1080p, .9 GB, beside. Image by image this side takes
2.1 GB and three quarters of the time. The other sides are `inference.predict`. Everything counts: start, loading,
decoding. The sides take turns, and the checkpoints have random weights. Memory is that of the largest process.

The floor: 4.46 TFLOP of the networks, decoding, and detecting. On two cores where ONNX Runtime's convolutions reach .5
TFLOP/s the networks take 8.9 s. Decoding and detecting take 3.2 s of a core, loading 2.4 s, the interpreters' start 1
s, so 12.2 s in all, and `onnx` took 16.7. ResNet-34 and Xception are near the floor, SlowFast takes 1.4 times as long.

    python -m benchmarks.whole [VIDEO] [--repeat 2]
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

import pretrain.retinaface
from benchmarks.runtimes import make_member
from faces.detector import default_weights, load_detector, torch_network
from inference.members import MEMBERS, Member, crop_kinds
from inference.networks.runtimes import member_score
from inference.networks.torch_networks import BUILD
from inference.sampling.look import Wanted, sample
from inference.settings import Settings
from pretrain.clips import clip
from training.checkpoint import load_weights, read_weights
from training.inputs import to_input

SIDES = ("plain", "torch", "onnx")


def plain_logits(member: Member, network: nn.Module, crops: torch.Tensor) -> torch.Tensor:
    """A member's logits of a face's RGB crops [N, side, side, 3], all at once: [N, 2], or [1, 2] of a clip."""
    images = to_input(crops, member.color, *member.normalisation).contiguous()
    if member.branch == "video":
        return network(images.transpose(0, 1)[None].contiguous())
    if not member.flip:
        return network(images)
    return torch.stack(network(torch.cat([images, images.flip(-1)])).chunk(2)).mean(dim=0)


@torch.inference_mode()
def plain(video: Path, models: Path) -> None:
    """Score a video in the reference's way."""
    networks = {name: BUILD[member.branch](member.arch).eval() for name, member in MEMBERS.items()}
    for name, member in MEMBERS.items():
        load_weights(networks[name], read_weights(models / member.file), member.file)
    load_detector(default_weights(), "cpu").network = torch_network(default_weights(), "cpu")  # the one `sample` takes
    (found,) = sample(video, Wanted(Settings(), crop_kinds(MEMBERS.values()), default_weights()))
    for name, member in MEMBERS.items():
        crops = [torch.from_numpy(face.crops[member.crop_kind]) for face in found.faces]
        logits = [plain_logits(member, networks[name], part).numpy() for part in crops]
        print(name, member_score(member, logits, found.faces).value)


def run(side: str, video: Path, models: Path, output: Path) -> tuple[float, float]:
    """Score the video in a new process; return its seconds and the megabytes of its largest process."""
    if side == "plain":
        command = ["benchmarks.whole", str(video), "--plain", str(models)]
    else:
        how = ["--models", str(models), "--members", ",".join(MEMBERS), "--runtime", side]
        command = ["inference.predict", str(video), *how, "--output", str(output)]
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{side} ended with status {status}: {' '.join(command)}")
    return time.perf_counter() - began, usage.ru_maxrss * 1024 / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path, metavar="VIDEO", help="default: a clip of the demo")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--plain", type=Path, metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--make", type=Path, metavar="DIR", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.make:
        torch.manual_seed(0)
        for member in MEMBERS.values():
            make_member(member, options.make)
        return
    video = options.video or clip("single_face.mp4")
    pretrain.retinaface.main()
    if options.plain:
        plain(video, options.plain)
        return
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    with TemporaryDirectory() as folder:
        # In a process of its own: a child's peak memory, as the kernel counts it, is at least its parent's.
        subprocess.run([sys.executable, "-m", "benchmarks.whole", "--make", folder], check=True)
        for number in range(options.repeat):
            for side in SIDES:
                seconds, megabytes = run(side, video, Path(folder), Path(folder) / f"{side}{number}.csv")
                times[side].append(seconds)
                print(f"{side:<6}{seconds:>7.1f} s{megabytes:>7.0f} MB", flush=True)
    medians = {side: statistics.median(found) for side, found in times.items()}
    ratios = "".join(f", {side} {medians['plain'] / medians[side]:.2f}" for side in SIDES[1:])
    print(f"benchmarks.whole: times the speed of plain PyTorch{ratios}; medians of {options.repeat}")


if __name__ == "__main__":
    main()
