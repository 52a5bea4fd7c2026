"""A member as an ONNX file: from RGB crops to logits, with its weights.

Weights that half precision holds exactly, as those of the shipped checkpoints, take two bytes each. Batch norms stay
apart from the convolutions, so that this is so; ONNX Runtime folds them when it loads the graph.
"""

import logging
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxscript import optimizer
from torch import Tensor, nn

from common.errors import BadInputError
from common.files import atomic_file, sha256
from image_based.models.class_activation import activation_map, features_of, gives_maps, logits_of
from inference.members import Member
from inference.networks.runtimes import CHECKPOINT, CROPS, INPUT, LOGITS, MAPS, describe_input
from inference.networks.slowfast_2d import ByFrames
from inference.networks.torch_networks import trained
from training.inputs import to_input
from video_based.models.slowfast import SlowFast50

SMALLEST = 64  # bytes of a weight that is worth halving
# Nodes whose outputs ONNX Runtime knows the shape of only when it is told. It adds a shortcut within a convolution if
# it knows that both have one shape: without this a SlowFast takes 6% more time and 10% more memory.
UNKNOWN_SHAPES = ("Concat", "Reshape", "Slice")


class FromCrops(nn.Module):
    """A member's whole way: RGB uint8 crops [N, side, side, 3] -> logits [N, 2], or of a clip's crops [1, 2].

    An image member also gives its class activation maps [N, h, w], whose means are FAKE's log odds, if its network has
    them.
    """

    def __init__(self, member: Member, network: nn.Module) -> None:
        super().__init__()
        self.member = member
        self.network = ByFrames(network) if isinstance(network, SlowFast50) else network
        self.has_maps = member.branch == "image" and gives_maps(network, torch.zeros(1, 3, member.size, member.size))

    def forward(self, crops: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        images = to_input(crops, self.member.color, *self.member.normalisation)
        if self.member.branch == "video":
            return self.network(images)
        inputs = torch.cat([images, images.flip(-1)]) if self.member.flip else images
        maps = None
        if self.has_maps:
            features = features_of(self.network, inputs)
            logits, maps = logits_of(self.network, features), activation_map(self.network, features)
        else:
            logits = self.network(inputs)
        if self.member.flip:
            count = crops.shape[0]  # `len` would fix the number at that of the example
            logits = (logits[:count] + logits[count:]) / 2
            maps = None if maps is None else (maps[:count] + maps[count:].flip(-1)) / 2
        return logits if maps is None else (logits, maps)


def export(member: Member, models: Path) -> None:
    """Write the member's ONNX file beside its checkpoint, atomically.

    Raises FileNotFoundError or CheckpointError for the checkpoint.
    """
    model = traced(FromCrops(member, trained(member, models)).eval())
    slim(model)
    store_halves(model)
    helper.set_model_props(model, {CHECKPOINT: sha256(models / member.file), INPUT: describe_input(member)})
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
        output_names=[LOGITS, MAPS] if network.has_maps else [LOGITS],
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


def store_halves(model: onnx.ModelProto) -> None:
    """Store each weight that half precision holds exactly as such, with a node that makes float32 of it."""
    casts: list[onnx.NodeProto] = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = value.astype(np.float16)
        if value.nbytes >= SMALLEST and np.array_equal(half.astype(np.float32), value):
            name, stored = tensor.name, f"{tensor.name}.half"
            tensor.CopyFrom(numpy_helper.from_array(half, stored))
            casts.append(helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
