"""RetinaFace with a MobileNet-0.25 body (Deng et al., 2019; reference, section 1). `faces.detector` runs it.

The body is ours. Feature pyramid, SSH and heads come from retinaface-pytorch. With their names all 300 entries of the
reference's `mobilenet0.25_Final.pth` match.
"""

import logging
from importlib import import_module
from pathlib import Path
from types import ModuleType

import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor, nn

from common.errors import BadInputError, CheckpointError
from common.files import atomic_file
from common.torch_files import load_dict


def _package(name: str) -> ModuleType:
    """A module of retinaface-pytorch. Raises BadInputError, which names the command that installs it.

    requirements.txt leaves the package out because its metadata pins torch 1.9, so it may be missing. It is imported
    when a network is made: no script catches errors while it imports this module.
    """
    try:
        return import_module(f"retinaface.{name}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("retinaface"):
            raise
        command = "pip install --no-deps -r requirements-nodeps.txt"
        raise BadInputError(f"the package retinaface-pytorch is missing: run `{command}`") from error


class MobileNetBody(nn.Module):
    """MobileNet v1 at a quarter of its width: images [B, 3, H, W] -> maps at strides 8, 16 and 32.

    The maps have 64, 128 and 256 channels and the keys 1, 2 and 3.
    """

    def __init__(self) -> None:
        super().__init__()
        net = _package("net")
        leaky = 0.1
        widths = [(8, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
        self.stage1 = nn.Sequential(net.conv_bn(3, 8, 2, leaky), *(net.conv_dw(*width, leaky) for width in widths))
        self.stage2 = nn.Sequential(
            net.conv_dw(64, 128, 2, leaky), *(net.conv_dw(128, 128, 1, leaky) for _ in range(5))
        )
        self.stage3 = nn.Sequential(net.conv_dw(128, 256, 2, leaky), net.conv_dw(256, 256, 1, leaky))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        stride8 = self.stage1(images)
        stride16 = self.stage2(stride8)
        return {"1": stride8, "2": stride16, "3": self.stage3(stride16)}


class RetinaFace(nn.Module):
    """The whole network: images float32 [B, 3, H, W] (BGR minus mean) -> outputs for P prior boxes.

    The outputs are offsets [B, P, 4], face probabilities [B, P] and landmark offsets [B, P, 10].
    """

    def __init__(self) -> None:
        super().__init__()
        net, network = _package("net"), _package("network")
        width, anchors = 64, 2
        self.body = MobileNetBody()
        self.fpn = net.FPN([64, 128, 256], width)
        self.ssh1, self.ssh2, self.ssh3 = (net.SSH(width, width) for _ in range(3))
        self.ClassHead = nn.ModuleList(network.ClassHead(width, anchors) for _ in range(3))
        self.BboxHead = nn.ModuleList(network.BboxHead(width, anchors) for _ in range(3))
        self.LandmarkHead = nn.ModuleList(network.LandmarkHead(width, anchors) for _ in range(3))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pyramid = self.fpn(self.body(images))
        features = [ssh(level) for ssh, level in zip((self.ssh1, self.ssh2, self.ssh3), pyramid, strict=True)]

        def all_levels(heads: nn.ModuleList) -> Tensor:
            return torch.cat([head(feature) for head, feature in zip(heads, features, strict=True)], dim=1)

        scores = all_levels(self.ClassHead).softmax(dim=-1)[..., 1]
        return all_levels(self.BboxHead), scores, all_levels(self.LandmarkHead)


def state_dict_from_onnx(path: Path) -> dict[str, Tensor]:
    """The state dict of our RetinaFace, names without prefix, from the registry's ONNX file.

    In that file the batch norms are folded into the convolutions. Each folded convolution becomes one of ours, followed
    by a batch norm that only adds the bias, which gives the same numbers. Raises CheckpointError for another file.
    """
    try:
        graph = onnx.load(path).graph
    except DecodeError as error:
        raise CheckpointError(f"{path} is not a readable ONNX file: {error}") from error
    values = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Identity":  # equal biases are stored once
            values[node.output[0]] = values[node.input[0]]
    state = RetinaFace().state_dict()
    try:
        for node in graph.node:
            if node.op_type == "Conv":
                state |= convolution(our_name(node.name), values[node.input[1]], values[node.input[2]], state)
    except (KeyError, ValueError, IndexError) as error:
        raise CheckpointError(f"{path} is not the registry's RetinaFace: {error}") from error
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
    """The entries of one convolution, `weight` [out, in, h, w] and `bias` [out]: with its bias if `state` has one.

    Else they are those of the convolution and of a batch norm that only adds the bias.
    """
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
        f"{norm}.running_var": unit - nn.BatchNorm2d(1).eps,
    }


def load_network(weights: Path) -> RetinaFace:
    """The network in evaluation mode, from a state dict without prefix or from the registry's ONNX file.

    Raises CheckpointError listing what does not match, FileNotFoundError for a missing file.
    """
    network = RetinaFace()
    try:
        network.load_state_dict(state_dict_from_onnx(weights) if weights.suffix == ".onnx" else load_dict(weights))
    except RuntimeError as error:
        raise CheckpointError(f"{weights}: {error}") from error
    return network.eval()


def export_onnx(weights: Path, output: Path) -> None:
    """Write the network with these weights as an ONNX file.

    Its input is `images`, of any number and size. Its outputs are `offsets`, `scores` and `landmarks`. Raises as
    `load_network` does.
    """
    any_size = torch.export.Dim.AUTO
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # else it reports every pass over the graph
    program = torch.onnx.export(
        load_network(weights),
        (torch.zeros(2, 3, 203, 317),),
        dynamo=True,
        input_names=["images"],
        output_names=["offsets", "scores", "landmarks"],
        dynamic_shapes={"images": {0: any_size, 2: any_size, 3: any_size}},
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    with atomic_file(output) as temporary:
        program.save(temporary, external_data=False)
