"""A member as an ONNX graph over the bytes of its checkpoint.

The graph takes RGB crops and gives logits. Its weights are *external data*, in ONNX's terms: places in the checkpoint
beside it. torch.save writes a zip file whose records are the tensors' bytes, uncompressed. So the weights exist once,
PyTorch trains from the same file, and the graph itself takes a tenth of a megabyte, a third for a SlowFast. Weights
that are not found in the checkpoint, as in files of PyTorch before 1.6, are stored in the graph.

Batch norms stay apart from the convolutions, because their weights lie apart in the checkpoint. ONNX Runtime folds them
when it loads the graph.
"""

import logging
import struct
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxscript import optimizer
from torch import Tensor, nn

from common.errors import BadInputError
from common.files import atomic_file, sha256
from image_based.models.class_activation import activation_map, features_of, logits_of
from inference.members import Member
from inference.networks.checkpoints import BRANCHES
from inference.networks.onnx_networks import CHECKPOINT, CROPS, LOGITS, MAPS
from inference.networks.slowfast_2d import ByFrames
from training.checkpoint import load_weights, read_weights
from training.inputs import to_input
from video_based.models.slowfast import SlowFast50

SMALLEST = 64  # bytes of a weight that is worth pointing to
# Nodes whose outputs ONNX Runtime knows the shape of only when it is told. It adds a shortcut within a convolution if
# it knows that both have one shape: without this a SlowFast takes 6 % more time and 10 % more memory.
UNKNOWN_SHAPES = ("Concat", "Reshape", "Slice")


class FromCrops(nn.Module):
    """A member's whole way: RGB uint8 crops [N, side, side, 3] -> logits [N, 2], or of a clip's crops [1, 2].

    Of an image member also its class activation maps [N, h, w], whose means are FAKE's log odds.
    """

    def __init__(self, member: Member, network: nn.Module) -> None:
        super().__init__()
        self.member = member
        self.network = ByFrames(network) if isinstance(network, SlowFast50) else network

    def forward(self, crops: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        images = to_input(crops, self.member.color, *self.member.normalisation)
        if self.member.branch == "video":
            return self.network(images)
        features = features_of(self.network, torch.cat([images, images.flip(-1)]) if self.member.flip else images)
        logits, maps = logits_of(self.network, features), activation_map(self.network, features)
        if not self.member.flip:
            return logits, maps
        count = crops.shape[0]  # `len` would fix the number at that of the example
        return (logits[:count] + logits[count:]) / 2, (maps[:count] + maps[count:].flip(-1)) / 2


class Place(NamedTuple):
    """Where a tensor's bytes lie in a checkpoint, and the order of its axes there."""

    offset: int
    length: int
    half: bool
    axes: tuple[int, ...]


class Records:
    """The places of a checkpoint's tensors, by their bytes."""

    def __init__(self, checkpoint: Path) -> None:
        self.file = checkpoint.name
        self.offsets: dict[bytes, int] = {}
        if not zipfile.is_zipfile(checkpoint):
            return
        with zipfile.ZipFile(checkpoint) as archive, checkpoint.open("rb") as file:
            for record in archive.infolist():
                if record.compress_type == zipfile.ZIP_STORED and record.file_size >= SMALLEST:
                    file.seek(record.header_offset + 26)  # the lengths of name and extra field, before the content
                    offset = record.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
                    file.seek(offset)
                    self.offsets.setdefault(file.read(record.file_size), offset)

    def find(self, value: np.ndarray) -> Place | None:
        """Where a float32 array lies: as it is or in half precision, its channels first or, as in training, last."""
        with np.errstate(over="ignore"):
            half = value.astype(np.float16)
        exact = np.array_equal(half.astype(np.float32), value)
        last = (0, *range(2, value.ndim), 1) if value.ndim > 2 else tuple(range(value.ndim))
        for stored, is_half in ((half, True), (value, False)) if exact else ((value, False),):
            for axes in (tuple(range(value.ndim)), last):
                content = np.ascontiguousarray(stored.transpose(axes)).tobytes()
                if content in self.offsets:
                    return Place(self.offsets[content], len(content), is_half, axes)
        return None


def export(member: Member, models: Path) -> None:
    """Write the member's ONNX file beside its checkpoint, atomically.

    Raises FileNotFoundError or CheckpointError for the checkpoint.
    """
    checkpoint = models / member.file
    network = BRANCHES[member.branch](member.arch)
    load_weights(network, read_weights(checkpoint), str(checkpoint))
    model = traced(FromCrops(member, network).eval())
    slim(model)
    point_into(model, Records(checkpoint))
    helper.set_model_props(model, {CHECKPOINT: sha256(checkpoint)})
    with atomic_file(models / member.onnx) as temporary:
        onnx.save(model, temporary)


def traced(network: FromCrops) -> onnx.ModelProto:
    """The graph of a network, for any number of crops."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it reports each graph pass
    frames, side = 9, network.member.size
    example = torch.zeros(frames, side, side, 3, dtype=torch.uint8)
    with torch.inference_mode():
        network(example[:1])  # so that `to_input` has its cached constants, which tracing would fill with others
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        input_names=[CROPS],
        output_names=[LOGITS, MAPS][: 2 if network.member.branch == "image" else 1],
        dynamic_shapes=({0: torch.export.Dim.AUTO},),
        verbose=False,
        optimize=False,  # it would fold the batch norms
    )
    if program is None:
        raise BadInputError(f"torch.onnx.export gave no program of {network.member.arch}")
    optimizer.fold_constants(program.model, onnx_shape_inference=False)
    return program.model_proto


def slim(model: onnx.ModelProto) -> None:
    """Remove what running does not need: sources of nodes, most shapes, and biases of convolutions that are all 0."""
    graph = model.graph
    zeros = {tensor.name for tensor in graph.initializer if not numpy_helper.to_array(tensor).any()}
    for node in graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
        if node.op_type == "Conv" and len(node.input) == 3 and node.input[2] in zeros:
            del node.input[2]
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    told = {name for node in graph.node if node.op_type in UNKNOWN_SHAPES for name in node.output}
    shapes = [value for value in graph.value_info if value.name in told]
    for entries in (graph.initializer, graph.value_info, graph.metadata_props, model.metadata_props):
        del entries[:]
    graph.initializer.extend(kept)
    graph.value_info.extend(shapes)
    for value in (*graph.initializer, *graph.value_info, *graph.input, *graph.output):
        del value.metadata_props[:]


def point_into(model: onnx.ModelProto, records: Records) -> None:
    """Replace the weights by their places in the checkpoint."""
    before: list[onnx.NodeProto] = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(tensor)
        place = records.find(value) if value.nbytes >= SMALLEST else None
        if place is not None:
            before += as_stored(tensor, value.shape, place, records.file)
    nodes = [*before, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def as_stored(tensor: onnx.TensorProto, shape: tuple[int, ...], place: Place, file: str) -> list[onnx.NodeProto]:
    """Make a weight external data; return the nodes that make float32 of it, with the axes in order."""
    name, nodes = tensor.name, []
    if place.axes != tuple(range(len(shape))):
        nodes.append(("Transpose", {"perm": np.argsort(place.axes).tolist()}))
    if place.half:
        nodes.append(("Cast", {"to": TensorProto.FLOAT}))
    tensor.name = f"{name}.stored" if nodes else name
    tensor.data_type = TensorProto.FLOAT16 if place.half else TensorProto.FLOAT
    tensor.dims[:] = [shape[axis] for axis in place.axes]
    for content in ("raw_data", "float_data"):
        tensor.ClearField(content)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", place.offset), ("length", place.length)):
        tensor.external_data.add(key=key, value=str(value))
    made = [tensor.name, *(f"{name}.{step}" for step in range(1, len(nodes))), name]
    return [
        helper.make_node(operation, [made[step]], [made[step + 1]], **attributes)
        for step, (operation, attributes) in enumerate(nodes)
    ]
