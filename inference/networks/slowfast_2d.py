"""SlowFast of two-dimensional convolutions, which are faster in ONNX Runtime: the same numbers.

ONNX Runtime has fast two-dimensional convolutions, which also take in the batch norm, add the shortcut and apply the
ReLU, and plain three-dimensional ones. So

- frames are a batch of images where a convolution spans one frame;
- a convolution over frames sees the clip as one picture, with a row for each frame and a column for each pixel;
- the Fast path's first convolution, over five frames of three channels, sees frames as channels and makes four of them
  at once, from eight. It does 1.6 times the products, and needs a quarter of the time.

The weights stay the checkpoint's, byte by byte, but for that convolution's.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from video_based.models.slowfast import ALPHA, Bottleneck, SlowFast50

TOGETHER = 4  # frames that the Fast path's first convolution makes at once
FRAMES, COLUMNS = 0, 2  # axes of a clip's layer


class ByFrames(nn.Module):
    """A SlowFast for one clip: its frames [T, 3, H, W] -> logits [1, num_classes]. Takes the network over."""

    def __init__(self, network: SlowFast50) -> None:
        super().__init__()
        self.slow_stem = nn.Sequential(network.slow_conv1, network.slow_bn1, nn.ReLU(inplace=True), network.pool)
        self.fast_stem = SeveralFrames(network.fast_conv1, network.fast_bn1, network.pool)
        self.slow_stages, self.fast_stages = (
            nn.ModuleList(getattr(network, f"{path}_res{stage}") for stage in range(1, 5)) for path in ("slow", "fast")
        )
        for part in (self.slow_stem, self.slow_stages, self.fast_stages):
            by_frames(part)
        self.laterals = nn.ModuleList(OverFrames(getattr(network, f"Tconv{stage}")) for stage in range(1, 5))
        self.fc = network.fc

    def forward(self, images: Tensor) -> Tensor:
        slow, fast = self.slow_stem(images[::ALPHA]), self.fast_stem(images)
        for lateral, slow_stage, fast_stage in zip(self.laterals, self.slow_stages, self.fast_stages, strict=True):
            slow = slow_stage(torch.cat([slow, lateral(fast)], dim=1))
            fast = fast_stage(fast)
        return self.fc(torch.cat([slow.mean(dim=(0, 2, 3)), fast.mean(dim=(0, 2, 3))])[None])


class OverFrames(nn.Module):
    """A convolution over frames alone, of images [T, C, H, W], and its batch norm if it has one."""

    def __init__(self, layer: nn.Conv3d, norm: nn.BatchNorm3d | None = None) -> None:
        super().__init__()
        self.convolution = without(layer, COLUMNS)
        self.norm = nn.Identity() if norm is None else of_images(norm)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        rows = images.flatten(2).transpose(0, 1).unsqueeze(0)  # [1, C, T, H * W]
        output = self.norm(self.convolution(rows))
        return output.squeeze(0).transpose(0, 1).unflatten(2, (height, width))


class SeveralFrames(nn.Module):
    """The Fast path's stem, for images [T, 3, H, W]: it makes a block of TOGETHER frames out of two blocks."""

    def __init__(self, layer: nn.Conv3d, norm: nn.BatchNorm3d, pool: nn.MaxPool3d) -> None:
        super().__init__()
        self.margin = int(layer.padding[0])
        if 2 * self.margin != TOGETHER:
            raise ValueError("two blocks of frames must hold all that one depends on")
        folded = fuse_conv_bn_eval(layer.eval(), norm.eval()).state_dict()
        of_a_frame = folded["weight"].transpose(1, 2).flatten(1, 2)  # the channels of one frame beside each other
        made, seen, span = layer.out_channels, layer.in_channels, layer.kernel_size[0]
        weight = of_a_frame.new_zeros(TOGETHER * made, 2 * TOGETHER * seen, *of_a_frame.shape[2:])
        for frame in range(TOGETHER):
            weight[frame * made : (frame + 1) * made, frame * seen : (frame + span) * seen] = of_a_frame
        self.early, self.late = (
            nn.Conv2d(TOGETHER * seen, TOGETHER * made, bias=bias, **arguments(layer, FRAMES)) for bias in (True, False)
        )
        early, late = weight.chunk(2, dim=1)
        self.early.load_state_dict({"weight": early, "bias": folded["bias"].repeat(TOGETHER)})
        self.late.load_state_dict({"weight": late})
        self.pool = nn.MaxPool2d(**arguments(pool, FRAMES))

    def forward(self, images: Tensor) -> Tensor:
        frames = images.shape[0]
        blocks = (frames + TOGETHER - 1) // TOGETHER
        after = TOGETHER * (blocks + 1) - frames - self.margin
        padded = F.pad(images, (0, 0, 0, 0, 0, 0, self.margin, after))
        channels = padded.unflatten(0, (blocks + 1, TOGETHER)).flatten(1, 2)
        output = self.pool(F.relu(self.early(channels[:-1]) + self.late(channels[1:])))
        return output.unflatten(1, (TOGETHER, -1)).flatten(0, 1)[:frames]


def by_frames(module: nn.Module) -> None:
    """Replace the layers within a module by those that do the same to images."""
    if isinstance(module, Bottleneck):
        module.relu = nn.ReLU()  # in place it would write through the view that OverFrames gives, element by element
        if module.conv1.kernel_size[0] > 1:
            module.conv1, module.bn1 = OverFrames(module.conv1, module.bn1), nn.Identity()  # type: ignore[assignment]
    for name, layer in module.named_children():
        if isinstance(layer, nn.Conv3d):
            setattr(module, name, without(layer, FRAMES))
        elif isinstance(layer, nn.BatchNorm3d):
            setattr(module, name, of_images(layer))
        elif isinstance(layer, nn.MaxPool3d):
            setattr(module, name, nn.MaxPool2d(**arguments(layer, FRAMES)))
        else:
            by_frames(layer)


def of_images(layer: nn.BatchNorm3d) -> nn.BatchNorm2d:
    """The same batch norm for images."""
    norm = nn.BatchNorm2d(layer.num_features, layer.eps)
    norm.load_state_dict(layer.state_dict())
    return norm


def without(layer: nn.Conv3d, axis: int) -> nn.Conv2d:
    """The two-dimensional convolution that one is which spans nothing along an axis."""
    flat = nn.Conv2d(layer.in_channels, layer.out_channels, bias=layer.bias is not None, **arguments(layer, axis))
    state = layer.state_dict()
    flat.load_state_dict(state | {"weight": state["weight"].select(axis + 2, 0)})
    return flat


def arguments(layer: Any, axis: int) -> dict[str, Any]:  # noqa: ANN401
    """The arguments of a two-dimensional layer that does the same as a three-dimensional one, but for an axis."""
    sizes = {name: list(getattr(layer, name)) for name in ("kernel_size", "stride", "padding")}
    return {name: (*values[:axis], *values[axis + 1 :]) for name, values in sizes.items()}
