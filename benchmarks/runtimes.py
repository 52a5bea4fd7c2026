"""Each network in PyTorch, ONNX Runtime and, where it is installed, OpenVINO: milliseconds, side by side in one run.

The networks have random weights and are exported by `inference.networks.graph`, so all sides get the same RGB crops:
four images, as the members see them on a CPU, or a clip of 32 frames. PyTorch runs its fastest exact form
(inference.networks.fold). The runtimes take turns, so that a noisy machine disturbs all alike.
The floor is that of benchmarks/networks.py: GFLOP over
the rate of matrix products. ResNet-34 and Xception are near it in every runtime.

    python -m benchmarks.runtimes [--repeat 5] [--networks efficientnet-b0,slowfast50]
    pip install openvino    # to have its column too; it is no dependency
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from benchmarks import seconds
from common.workers import cores
from inference.members import KNOWN, Member
from inference.networks.graph import export
from inference.networks.runtimes import CROPS, load_networks
from inference.networks.torch_networks import BUILD

CLIP = 32  # frames
IMAGES = 4

Sides = dict[str, Callable[[], object]]


def make_member(member: Member, models: Path) -> None:
    """Write a checkpoint of random weights and its ONNX file."""
    network = BUILD[member.branch](member.arch)
    torch.save({"step": 1, "arch": member.arch, "state_dict": network.state_dict()}, models / member.file)
    export(member, models)


def sides_of(name: str, member: Member, models: Path) -> Sides:
    """A call of the member's network on the same crops, by runtime."""
    make_member(member, models)
    count = CLIP if member.branch == "video" else IMAGES
    crops = np.random.RandomState(0).randint(0, 256, (count, member.size, member.size, 3), dtype=np.uint8)
    networks = {
        runtime: load_networks({name: member}, models, runtime=runtime, threads=cores())
        for runtime in ("torch", "onnx")
    }
    sides: Sides = {
        runtime: lambda loaded=loaded: loaded.logits(name, [crops])  # type: ignore[misc]
        for runtime, loaded in networks.items()
    }
    if find_spec("openvino"):
        import openvino

        hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": cores(), "PERFORMANCE_HINT": "LATENCY"}
        request = openvino.Core().compile_model(models / member.onnx, "CPU", hints).create_infer_request()
        sides["openvino"] = lambda: request.infer({CROPS: crops})
    return sides


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--networks", metavar="A,B", help="default: all")
    options = parser.parse_args()
    by_arch = {member.arch: (name, member) for name, member in reversed(KNOWN.items())}
    wanted = options.networks.split(",") if options.networks else list(by_arch)
    print(f"{cores()} cores; milliseconds of {IMAGES} images or a clip of {CLIP} frames, median of {options.repeat}")
    with tempfile.TemporaryDirectory() as folder:
        for arch in wanted:
            name, member = by_arch[arch]
            sides = sides_of(name, member, Path(folder))
            for work in sides.values():
                work()
            times: dict[str, list[float]] = {side: [] for side in sides}
            for _ in range(options.repeat):
                for side, work in sides.items():
                    times[side].append(seconds(work))
            medians = {side: 1000 * statistics.median(found) for side, found in times.items()}
            cells = "".join(
                f"{side:>10} {value:>7.1f} ({medians['torch'] / value:.2f})" for side, value in medians.items()
            )
            print(f"{arch:<20}{member.size:>4} px{cells}", flush=True)


if __name__ == "__main__":
    main()
