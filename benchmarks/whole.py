"""One video with all eleven members as whole processes: plain PyTorch as the reference runs it, and our two runtimes.

"Plain" is one process on one video. It loads all networks, the detector sees each sampled frame alone, then all images
of a face with their mirror images go through a network at once, and the clip through the others. The networks, and the
detector's too, are as they were built: eager, batch norms unfolded, in PyTorch's default memory layout. It decodes,
tracks and cuts in our way. That the reference sends the images of a face together is inferred from the 5.8 GB that it
was recorded to take (reference, section 6). This side takes 5 GB, and the reference keeps 150 frames of 1080p, 0.9 GB,
beside. Image by image this side takes 2.1 GB and three quarters of the time. The other sides are `inference.predict`.
Everything counts: start, loading, decoding. The sides take turns, and the checkpoints have random weights. Memory is
that of the largest process.

The floor: 4.46 TFLOP of the networks, decoding, and detecting. On two cores where ONNX Runtime's convolutions reach 0.5
TFLOP/s the networks take 8.9 s. Decoding and detecting take 3.2 s of a core, loading 2.4 s, the interpreters' start 1
s, so 12.2 s in all, and `onnx` took 16.7. ResNet-34 and Xception are near the floor, SlowFast takes 1.4 times as long.

    python -m benchmarks.whole [VIDEO] [--repeat 2]
"""

import argparse
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from torch import nn

import pretrain.retinaface
from benchmarks import Spent, parser, run, take_turns, write_checkpoints
from faces.detector import default_weights, load_detector, torch_network
from inference.members import MEMBERS, Member, crop_kinds
from inference.networks.graph import export
from inference.networks.runtimes import member_score
from inference.networks.torch_networks import BUILD
from inference.sampling.look import Wanted, sample
from inference.settings import Settings
from pretrain.clips import clip
from training.checkpoint import load_weights, read_weights
from training.inputs import to_input


def plain_logits(member: Member, network: nn.Module, crops: torch.Tensor) -> torch.Tensor:
    """A member's logits of a face's RGB crops, uint8 [N, side, side, 3], all at once: [N, 2], or [1, 2] of a clip."""
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
    load_detector(default_weights(), "cpu").network = torch_network(default_weights(), "cpu")  # which `sample` uses
    (sampled,) = sample(video, Wanted(Settings(), crop_kinds(MEMBERS.values()), default_weights()))
    for name, member in MEMBERS.items():
        crops = [torch.from_numpy(face.crops[member.crop_kind]) for face in sampled.faces]
        logits = [plain_logits(member, networks[name], face_crops).numpy() for face_crops in crops]
        print(name, member_score(member, logits, sampled.faces).value)


def score(side: str, video: Path, models: Path) -> Spent:
    """Score the video in a new process, and print what it took."""
    if side == "plain":
        spent = run("-m", "benchmarks.whole", video, "--plain", models)
    else:
        how = ("--models", models, "--members", ",".join(MEMBERS), "--runtime", side)
        with TemporaryDirectory() as folder:
            spent = run("-m", "inference.predict", video, *how, "--output", f"{folder}/s.csv")
    print(f"{side:<6}{spent.wall:>7.1f} s{spent.megabytes:>7.0f} MB", flush=True)
    return spent


def main() -> None:
    """Print the table."""
    command = parser(__doc__, repeat=2)
    command.add_argument("video", nargs="?", type=Path, metavar="VIDEO", help="default: a clip of the demo")
    for hidden in ("--plain", "--make"):
        command.add_argument(hidden, type=Path, help=argparse.SUPPRESS)
    options = command.parse_args()
    if options.make:
        write_checkpoints(MEMBERS.values(), options.make)
        for member in MEMBERS.values():
            export(member, options.make)
        return
    video = options.video or clip("single_face.mp4")
    pretrain.retinaface.make()
    if options.plain:
        plain(video, options.plain)
        return
    with TemporaryDirectory() as folder:
        run("-m", "benchmarks.whole", "--make", folder)  # in a process of its own, so that this one stays small
        sides = {side: partial(score, side, video, Path(folder)) for side in ("plain", "torch", "onnx")}
        rounds = take_turns(sides, options.repeat)
    walls = {side: median(spent.wall for spent in rounds[side]) for side in rounds}
    ratios = ", ".join(f"{side} {walls['plain'] / walls[side]:.2f}" for side in ("torch", "onnx"))
    print(f"benchmarks.whole: times the speed of plain PyTorch: {ratios}; medians of {options.repeat}")


if __name__ == "__main__":
    main()
