"""Each network in PyTorch, ONNX Runtime and, where it is installed, OpenVINO: milliseconds, side by side in one run.

The networks have random weights and are exported by `inference.networks.graph`, so all sides get the same RGB crops:
four images, as the members see them on a CPU, or a clip of 32 frames. PyTorch runs its fastest exact form
(inference.networks.fold). The floor is that of benchmarks/networks.py: GFLOP over the rate of matrix products.
ResNet-34 and Xception are near it in every runtime.

    python -m benchmarks.runtimes [--repeat 5] [--networks efficientnet-b0,slowfast50]
    pip install openvino    # to have its column too; it is not a dependency
"""

import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks import parser, seconds, take_turns, write_checkpoints
from common.command import cores
from inference.members import KNOWN, Member
from inference.networks.graph import export
from inference.networks.runtimes import CROPS, load_networks

CLIP, IMAGES = 32, 4  # frames, images


def calls(name: str, member: Member, models: Path) -> dict[str, Callable[[], object]]:
    """A call of the member's network on the same crops, by runtime."""
    write_checkpoints([member], models)
    export(member, models)
    count = CLIP if member.branch == "video" else IMAGES
    crops = np.random.RandomState(0).randint(0, 256, (count, member.size, member.size, 3), dtype=np.uint8)
    sides: dict[str, Callable[[], object]] = {}
    for runtime in ("torch", "onnx"):
        networks = load_networks({name: member}, models, runtime=runtime, threads=cores())
        sides[runtime] = partial(networks.logits, name, [crops])
    if find_spec("openvino"):
        import openvino

        hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": cores(), "PERFORMANCE_HINT": "LATENCY"}
        request = openvino.Core().compile_model(models / member.onnx, "CPU", hints).create_infer_request()
        sides["openvino"] = lambda: request.infer({CROPS: crops})
    return sides


def main() -> None:
    """Print the table."""
    command = parser(__doc__, repeat=5)
    command.add_argument("--networks", metavar="A,B", help="default: all")
    options = command.parse_args()
    by_arch = {member.arch: (name, member) for name, member in reversed(KNOWN.items())}
    print(f"{cores()} cores; ms of {IMAGES} images or a clip of {CLIP} frames (speed over PyTorch's)")
    for arch in options.networks.split(",") if options.networks else by_arch:
        name, member = by_arch[arch]
        with tempfile.TemporaryDirectory() as folder:
            sides = {side: partial(seconds, call) for side, call in calls(name, member, Path(folder)).items()}
            times = take_turns(sides, options.repeat, warm_up=1)
        medians = {side: 1000 * statistics.median(rounds) for side, rounds in times.items()}
        cells = (f"{side:>10} {value:>7.1f} ({medians['torch'] / value:.2f})" for side, value in medians.items())
        print(f"{arch:<20}{member.size:>4} px{''.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
