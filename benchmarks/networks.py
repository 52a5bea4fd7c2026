"""Each network at its own input size, in several forms: milliseconds per item, forward and in a training step.

Forms: eager; channels_last; folded (batch norms in the convolutions); fastest (both, what inference runs); bf16
(fastest under autocast, not exact); compiled (fastest through inductor, with --compile: compiling takes a minute or
more per network on two cores). Then all eleven members, as inference runs them, on 150 frames of one face.

The floor is arithmetic: GFLOP over the rate at which the same machine multiplies 2048x2048 float32 matrices, which is
measured here. The eleven members need 4.46 TFLOP. On two cores at 172 GFLOP/s (26 s for all eleven), `fastest` reached
a third of the matrix rate on EfficientNet, whose depthwise layers are limited by memory. It reached two thirds on
SlowFast, four fifths on Xception, and all of it on ResNet-34, whose Winograd convolutions do fewer operations than are
counted.

    python -m benchmarks.networks [--device cpu|cuda] [--repeat 3] [--compile] [--give-back]
                                  [--only forward|training|members]
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.command import DEVICES, pick_device
from common.memory import keep_freed_memory
from inference.members import MEMBERS, Branch, crop_kinds, frames_seen
from inference.networks.fold import fastest
from inference.networks.torch_networks import BUILD, networks_of, small_input
from inference.sampling.sampled import Face
from training.inputs import memory_format

FRAMES = 150
# The shapes of a training batch; the other networks have (8, 3, 299, 299).
TRAINING = {
    "slowfast50": (2, 3, 32, 224, 224),
    "resnet34": (8, 3, 224, 224),
}


def timed(work: Callable[[], object], repeat: int, device: str) -> float:
    """Median seconds of a call, after one call to warm up."""
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def matmul_rate(device: str) -> float:
    """GFLOP/s of a 2048x2048 float32 matrix product."""
    matrix = torch.randn(2048, 2048, device=device)
    return 2 * 2048**3 / timed(lambda: matrix @ matrix, 9, device) / 1e9


def forward_row(branch: Branch, arch: str, size: int, options: argparse.Namespace, rate: float) -> str:
    """Milliseconds per image (or clip of 150 frames) in each form, as a line of the table."""
    shape = (1, 3, FRAMES, size, size) if branch == "video" else (10, 3, size, size)
    images = torch.randn(shape, device=options.device)
    last = images.contiguous(memory_format=memory_format(images))
    small = small_input(branch)

    def build() -> nn.Module:
        return BUILD[branch](arch).eval()

    fast = fastest(build(), small).to(options.device)
    forms: dict[str, tuple[nn.Module, Tensor]] = {
        "eager": (build().to(options.device), images),
        "channels_last": (build().to(options.device).to(memory_format=memory_format(images)), last),
        "folded": (fastest(build(), small).to(options.device).to(memory_format=torch.contiguous_format), images),
        "fastest": (fast, last),
    }
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            forms["eager"][0](images)
        gflop = counter.get_total_flops() / 1e9 / len(images)
        row = {name: timed(partial(form[0], form[1]), options.repeat, options.device) for name, form in forms.items()}
        with torch.autocast(options.device, torch.bfloat16):
            row["bf16"] = timed(lambda: fast(last), options.repeat, options.device)
        if options.compile:
            compiled = torch.compile(fast)
            row["compiled"] = timed(lambda: compiled(last), options.repeat, options.device)
    items = {name: 1000 * seconds / len(images) for name, seconds in row.items()}
    of_floor = gflop / (items["fastest"] / 1000) / rate
    cells = "".join(f"{milliseconds:>15.1f}" for milliseconds in items.values())
    return f"{arch:<16}{size:>5}{gflop:>9.2f}{cells}{of_floor:>10.0%}"


def training_row(branch: Branch, arch: str, options: argparse.Namespace) -> str:
    """Milliseconds of a training step per item in each form, as a line of the table."""
    images = torch.randn(TRAINING.get(arch, (8, 3, 299, 299)), device=options.device)
    layouts = {"eager": torch.contiguous_format} | dict.fromkeys(training_forms(options)[1:], memory_format(images))
    cells = ""
    for form, layout in layouts.items():
        model = BUILD[branch](arch).to(options.device).to(memory_format=layout)
        if form == "compiled":
            model.compile()
        inputs, last = images.contiguous(memory_format=layout), form != "eager"
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, nesterov=True, fused=last)
        with torch.autocast(options.device, torch.bfloat16, enabled=form in ("bf16", "compiled")):
            seconds = timed(partial(training_step, model, inputs, optimizer), options.repeat, options.device)
        cells += f"{1000 * seconds / len(images):>15.1f}"
    return f"{arch:<16}{tuple(images.shape)!s:>24}{cells}"


def training_forms(options: argparse.Namespace) -> list[str]:
    """The forms of training: eager; as the trainers run it (channels_last, fused SGD); that in bf16; that compiled."""
    return ["eager", "channels_last", "bf16", *(["compiled"] if options.compile else [])]


def training_step(model: nn.Module, images: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Forward, backward, step."""
    optimizer.zero_grad(set_to_none=True)
    model(images).square().mean().backward()
    optimizer.step()


def all_members(device: str) -> float:
    """Seconds of all eleven members, random weights, on 150 crops of one face, as inference runs them."""
    noise = np.random.RandomState(0)
    crops = {
        kind: noise.randint(0, 256, (len(frames_seen(kind.branch, FRAMES)), kind.side, kind.side, 3), dtype=np.uint8)
        for kind in crop_kinds(MEMBERS.values())
    }
    members = {}
    for name, member in MEMBERS.items():
        network = fastest(BUILD[member.branch](member.arch), small_input(member.branch))
        members[name] = (member, network.to(device))
    networks = networks_of(members, device)
    began = time.perf_counter()
    networks.scores([[Face([], [], crops)]])
    return time.perf_counter() - began


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--only", choices=("forward", "training", "members"), help="one of the three tables")
    parser.add_argument(
        "--give-back", action="store_true", help="hand freed memory back to the kernel, as processes do by default"
    )
    options = parser.parse_args()
    options.device = pick_device(options.device)
    if not options.give_back:
        keep_freed_memory()
    rate = matmul_rate(options.device)
    print(f"{options.device}, {torch.get_num_threads()} threads, matrix products at {rate:.0f} GFLOP/s")
    networks = sorted({(member.branch, member.arch, member.size) for member in MEMBERS.values()})
    if options.only in (None, "forward"):
        forms = ["eager", "channels_last", "folded", "fastest", "bf16", *(["compiled"] if options.compile else [])]
        print(f"\nforward, ms an image (SlowFast: a clip of {FRAMES} frames)")
        print(f"{'network':<16}{'px':>5}{'GFLOP':>9}{''.join(f'{form:>15}' for form in forms)}{'of floor':>10}")
        for network in networks:
            print(forward_row(*network, options, rate), flush=True)
    if options.only in (None, "training"):
        heads = "".join(f"{form:>15}" for form in training_forms(options))
        print(f"\ntraining step, ms an item\n{'network':<16}{'batch':>24}{heads}")
        for branch, arch, _ in networks:
            print(training_row(branch, arch, options), flush=True)
    if options.only in (None, "members"):
        seconds = statistics.median(all_members(options.device) for _ in range(options.repeat))
        print(f"\nall eleven members on {FRAMES} frames of one face: {seconds:.1f} s (reference on two cores: 134 s)")


if __name__ == "__main__":
    main()
