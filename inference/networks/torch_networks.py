"""Members in PyTorch, on the CPU or a GPU, at a precision."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import image_based.models
import video_based.models
from common.errors import CheckpointError
from common.memory import keep_freed_memory
from common.torch_files import load_dict
from image_based.models.class_activation import activation_map, features_of, gives_maps
from inference.members import Branch, Member
from inference.networks.fold import fastest
from inference.networks.runtimes import Networks
from training.checkpoint import load_weights, read_weights
from training.inputs import memory_format, to_input

BUILD = {"image": image_based.models.build_model, "video": video_based.models.build_model}  # a branch's networks
DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass
class TorchNetwork:
    """A member's network on a device; see `inference.networks.runtimes.Network`."""

    member: Member
    network: nn.Module
    device: str = "cpu"
    precision: str = "fp32"

    @property
    def is_exact(self) -> bool:
        """Whether it always computes at float32."""
        return DTYPES[self.precision] == torch.float32

    @torch.inference_mode()
    def __call__(self, pixels: np.ndarray, exact: bool = False) -> np.ndarray:
        """Crops [N, side, side, 3] -> logits [N, 2], or clips [B, T, side, side, 3] -> [B, 2]."""
        inputs = self.inputs(pixels)
        dtype = torch.float32 if exact else DTYPES[self.precision]
        if self.member.branch == "video":
            return self.run(inputs.transpose(1, 2), dtype).numpy()
        if not self.member.flip:
            return self.run(inputs, dtype).numpy()
        output = self.run(torch.cat([inputs, inputs.flip(-1)]), dtype)
        return ((output[: len(pixels)] + output[len(pixels) :]) / 2).numpy()

    @cached_property
    def has_maps(self) -> bool:
        """Whether it gives class activation maps; a video member does not, nor a network with another head."""
        if self.member.branch == "video":
            return False
        return gives_maps(self.network, self.inputs(np.zeros((1, self.member.size, self.member.size, 3), np.uint8)))

    @torch.inference_mode()
    def maps(self, pixels: np.ndarray) -> np.ndarray:
        """Crops [N, side, side, 3] -> class activation maps [N, h, w]."""
        inputs = self.inputs(pixels)
        maps = self.mapped(inputs)
        if self.member.flip:
            maps = (maps + self.mapped(inputs.flip(-1)).flip(-1)) / 2
        return maps.cpu().numpy()

    def mapped(self, images: Tensor) -> Tensor:
        """The network's maps [N, h, w] of its input [N, 3, side, side]."""
        features = features_of(self.network, images.contiguous(memory_format=memory_format(images)))
        return activation_map(self.network, features)

    def inputs(self, pixels: np.ndarray) -> Tensor:
        """RGB crops [..., side, side, 3] -> the member's input [..., 3, side, side]."""
        return to_input(torch.from_numpy(pixels).to(self.device), self.member.color, *self.member.normalisation)

    def run(self, inputs: Tensor, dtype: torch.dtype) -> Tensor:
        """The network's logits [N, 2] at a precision, on the CPU in float32."""
        with torch.autocast(torch.device(self.device).type, dtype, enabled=dtype != torch.float32):
            return self.network(inputs.contiguous(memory_format=memory_format(inputs))).float().cpu()


def networks_of(
    loaded: Mapping[str, tuple[Member, nn.Module]],
    device: str = "cpu",
    precision: str = "fp32",
    limits: Mapping[str, int] | None = None,
) -> Networks:
    """The members' networks from modules that are on the device; `limits` are those of `Networks`."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    return Networks(
        {name: (member, TorchNetwork(member, module, device, precision)) for name, (member, module) in loaded.items()},
        device,
        dict(limits or {}),
    )


def load_networks(members: Mapping[str, Member], models: Path, device: str, precision: str) -> Networks:
    """Load the members' networks from the folder `models`. Raises BadInputError for a checkpoint that does not fit.

    From then on, this process keeps the memory that it frees.
    """
    keep_freed_memory()
    loaded = {name: (member, load_member(member, models, device)) for name, member in members.items()}
    return networks_of(loaded, device, precision)


def load_member(member: Member, models: Path, device: str = "cpu") -> nn.Module:
    """The member's network with its checkpoint, strictly loaded, in its fastest exact form.

    Raises FileNotFoundError, or BadInputError for a checkpoint that does not fit.
    """
    return fastest(trained(member, models), small_input(member.branch)).to(torch.device(device))


def trained(member: Member, models: Path) -> nn.Module:
    """The member's network with its checkpoint, strictly loaded, in evaluation mode.

    Raises FileNotFoundError, or CheckpointError for a checkpoint that does not fit; if it says that it is of another
    architecture, the error says only that.
    """
    path = models / member.file
    network = BUILD[member.branch](member.arch)
    try:
        load_weights(network, read_weights(path), str(path))
    except CheckpointError as error:
        arch = load_dict(path).get("arch")
        if not isinstance(arch, str) or arch == member.arch:
            raise
        fits = f"{path} does not fit {type(network).__name__}"
        raise CheckpointError(f"{fits}: it holds {arch}, not {member.arch}") from error
    return network.eval()


def small_input(branch: Branch) -> Tensor:
    """A small input for running a branch's networks once: a clip [1, 3, 4, 64, 64] or an image [1, 3, 96, 96]."""
    return torch.zeros(1, 3, 4, 64, 64) if branch == "video" else torch.zeros(1, 3, 96, 96)
