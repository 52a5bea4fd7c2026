"""Each network at its own input size, in several variants: milliseconds per item, forward and in a training step.

Variants: eager; channels_last; folded (batch norms in the convolutions); fastest (both, what inference runs); bf16
(fastest under autocast, not exact). A training step is eager, or as the trainers run it (channels_last, fused SGD), or
the same in bf16. Then all eleven members, as inference runs them, on 150 frames of one face.

The floor is arithmetic: GFLOP over the rate at which the same machine multiplies 2048x2048 float32 matrices, which is
measured here. The eleven members need 4.46 TFLOP. On two cores at 172 GFLOP/s (26 s for all eleven), `fastest` reached
a third of the matrix rate on EfficientNet, whose depthwise layers are limited by memory. It reached two thirds on
SlowFast, four fifths on Xception, and all of it on ResNet-34, whose Winograd convolutions do fewer operations than are
counted.

    python -m benchmarks.networks [--device cpu|cuda] [--repeat 3] [--give-back] [--only forward|training|members]
"""

import argparse
import statistics
from collections.abc import Callable, Container
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import matmul_rate, median_seconds, parser, seconds
from common.command import DEVICES, pick_device
from common.memory import keep_freed_memory
from inference.members import MEMBERS, Branch, Member, crop_kinds, frames_seen
from inference.networks.fold import fastest
from inference.networks.torch_networks import BUILD, networks_of, small_input
from inference.sampling.sampled import Face
from training.inputs import memory_format

FRAMES = 150
FORWARD = ("eager", "channels_last", "folded", "fastest", "bf16")
TRAINING = ("eager", "channels_last", "bf16")
# The shapes of a training batch; the other networks have (8, 3, 299, 299).
BATCHES = {"slowfast50": (2, 3, 32, 224, 224), "resnet34": (8, 3, 224, 224)}


def forward_row(branch: Branch, arch: str, size: int, options: argparse.Namespace, rate: float) -> str:
    """Milliseconds per image (or clip of 150 frames) in each variant, as a line of the table."""
    device = options.device
    images = torch.randn((1, 3, FRAMES, size, size) if branch == "video" else (10, 3, size, size), device=device)
    last = images.contiguous(memory_format=memory_format(images))
    eager = BUILD[branch](arch).eval().to(device)
    fast = fastest(BUILD[branch](arch).eval(), small_input(branch)).to(device)
    variants = (
        *(("eager", eager, images), ("channels_last", eager, last)),
        *(("fastest", fast, last), ("bf16", fast, last), ("folded", fast, images)),
    )
    milliseconds = {}
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            eager(images)
        for name, network, inputs in variants:
            network.to(memory_format=torch.contiguous_format if inputs is images else memory_format(images))
            with torch.autocast(device, torch.bfloat16, enabled=name == "bf16"):
                took = median_seconds(partial(network, inputs), options.repeat, device)
            milliseconds[name] = 1000 * took / len(images)
    gflop = counter.get_total_flops() / 1e9 / len(images)
    cells = "".join(f"{milliseconds[name]:>15.1f}" for name in FORWARD)
    return f"{arch:<16}{size:>5}{gflop:>9.2f}{cells}{gflop / (milliseconds['fastest'] / 1000) / rate:>10.0%}"


def training_row(branch: Branch, arch: str, options: argparse.Namespace) -> str:
    """Milliseconds of a training step per item in each variant, as a line of the table."""
    images = torch.randn(BATCHES.get(arch, (8, 3, 299, 299)), device=options.device)
    cells = ""
    for variant in TRAINING:
        _, step = training_work(branch, arch, images, plain=variant == "eager")
        with torch.autocast(options.device, torch.bfloat16, enabled=variant == "bf16"):
            cells += f"{1000 * median_seconds(step, options.repeat, options.device) / len(images):>15.1f}"
    return f"{arch:<16}{tuple(images.shape)!s:>24}{cells}"


def training_work(branch: Branch, arch: str, images: Tensor, plain: bool) -> tuple[nn.Module, Callable[[], None]]:
    """A network and its training step on the images, plain or as the trainers run it (channels_last, fused SGD)."""
    layout = torch.contiguous_format if plain else memory_format(images)
    model = BUILD[branch](arch).to(images.device).to(memory_format=layout)
    inputs = images.contiguous(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, nesterov=True, fused=not plain)
    return model, partial(training_step, model, inputs, optimizer)


def training_step(model: nn.Module, images: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """One step, forward and backward, on images [B, 3, H, W] or clips [B, 3, T, H, W]."""
    optimizer.zero_grad(set_to_none=True)
    model(images).square().mean().backward()
    optimizer.step()


def random_members(device: str, names: Container[str] = MEMBERS) -> dict[str, tuple[Member, nn.Module]]:
    """Members with random weights, the same at each call with these names, as inference runs them."""
    torch.manual_seed(0)
    return {
        name: (member, fastest(BUILD[member.branch](member.arch), small_input(member.branch)).to(device))
        for name, member in MEMBERS.items()
        if name in names
    }


def all_members(device: str) -> float:
    """Seconds of all eleven members on 150 crops of one face."""
    noise = np.random.RandomState(0)
    crops = {
        kind: noise.randint(0, 256, (len(frames_seen(kind.branch, FRAMES)), kind.side, kind.side, 3), dtype=np.uint8)
        for kind in crop_kinds(MEMBERS.values())
    }
    networks = networks_of(random_members(device), device)
    return seconds(lambda: networks.scores([[Face([], [], crops)]]))


def main() -> None:
    """Print the tables."""
    command = parser(__doc__, repeat=3)
    command.add_argument("--device", choices=DEVICES, default="auto")
    command.add_argument("--only", choices=("forward", "training", "members"), help="one of the three tables")
    command.add_argument(
        "--give-back", action="store_true", help="return freed memory to the kernel, as is the default"
    )
    options = command.parse_args()
    options.device = pick_device(options.device)
    if not options.give_back:
        keep_freed_memory()
    rate = matmul_rate(options.device)
    print(f"{options.device}, {torch.get_num_threads()} threads, matrix products at {rate:.0f} GFLOP/s")
    networks = sorted({(member.branch, member.arch, member.size) for member in MEMBERS.values()})
    if options.only in (None, "forward"):
        print(f"\nforward, ms per image (SlowFast: per clip of {FRAMES} frames)")
        print(f"{'network':<16}{'px':>5}{'GFLOP':>9}{''.join(f'{name:>15}' for name in FORWARD)}{'of floor':>10}")
        for branch, arch, size in networks:
            print(forward_row(branch, arch, size, options, rate), flush=True)
    if options.only in (None, "training"):
        print(
            f"\ntraining step, ms per item\n{'network':<16}{'batch':>24}{''.join(f'{name:>15}' for name in TRAINING)}"
        )
        for branch, arch, _ in networks:
            print(training_row(branch, arch, options), flush=True)
    if options.only in (None, "members"):
        median = statistics.median(all_members(options.device) for _ in range(options.repeat))
        print(f"\nall eleven members on {FRAMES} frames of one face: {median:.1f} s (reference on two cores: 134 s)")


if __name__ == "__main__":
    main()
