"""From face crops to a network's input, the same in training and at inference."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from training.config import TrainingConfig


def to_input(images: Tensor, color: str, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """RGB uint8 [..., H, W, 3] -> float32 [..., 3, H, W]: divided by 255, minus `mean`, divided by `std`.

    `color` (rgb or bgr) is the order of the result's channels and of the three values of `mean` and `std`. In memory
    the result stays channels last. Whole rows are scaled at once: on a CPU this is several times as fast as pixel by
    pixel.
    """
    if color == "bgr":
        images = images.flip(-1)
    width = images.shape[-2]
    scale, shift = row_factors(tuple(mean), tuple(std), width, images.device)
    rows = images.flatten(-2).to(torch.float32, copy=True)
    return rows.mul_(scale).add_(shift).unflatten(-1, (width, 3)).movedim(-1, -3)


@lru_cache
@torch.inference_mode(False)
def row_factors(
    mean: tuple[float, ...], std: tuple[float, ...], width: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Factors and summands for a row of pixels, float32 [3 * width] each.

    They are cached, because every step would wait for their copy to a GPU.
    """
    scale = torch.tensor([1 / (255 * value) for value in std], device=device)
    shift = torch.tensor([-middle / value for middle, value in zip(mean, std, strict=True)], device=device)
    return scale.repeat(width), shift.repeat(width)


def normalise(batch: Tensor, config: TrainingConfig) -> Tensor:
    """RGB uint8 images [B, H, W, 3] or clips [B, T, H, W, 3] -> float32 [B, 3, H, W] or [B, 3, T, H, W].

    The config gives the order of colours, mean and std.
    """
    values = to_input(batch, config.color, config.mean, config.std)
    return values.transpose(1, 2) if batch.ndim == 5 else values


def memory_format(inputs: Tensor) -> torch.memory_format:
    """The channels-last format for images [B, 3, H, W] or clips [B, 3, T, H, W]."""
    return torch.channels_last if inputs.ndim == 4 else torch.channels_last_3d
