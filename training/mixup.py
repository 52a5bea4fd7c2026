"""Mixup within pairs: a fake mixed with its original, augmented alike, is a fake with weaker traces.

The reference has no mixup. Zhang et al. (2018), from whom it comes, mix random images.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from common.errors import BadInputError


def check_pairs(labels: Tensor) -> None:
    """Raise BadInputError unless the labels [B] of samples 2i and 2i + 1 differ."""
    if (labels[::2] == labels[1::2]).any():
        raise BadInputError(
            "mixup needs a list of pairs in which a fake and its original follow each other, such as faces224_pairs.txt"
        )


def mix_pairs(images: Tensor, labels: Tensor, chance: float) -> tuple[Tensor, Tensor]:
    """Mix the two images of a pair with each other, with probability `chance`; each keeps 0.5 to 1 of itself.

    Takes uint8 images or clips [B, ...], where samples 2i and 2i + 1 are a pair, and labels [B] (1 FAKE). Returns uint8
    [B, ...] and class probabilities float32 [B, 2], on the images' device. On every device the random numbers come from
    the CPU's default generator.
    """
    pairs = len(labels) // 2
    kept = torch.where(torch.rand(pairs) < chance, 0.5 + torch.rand(pairs) / 2, torch.ones(pairs))
    kept = kept.repeat_interleave(2).to(images.device)
    classes = F.one_hot(labels, 2).float()
    return _mixed(images.float(), kept).round_().to(torch.uint8), _mixed(classes, kept)


def _mixed(values: Tensor, kept: Tensor) -> Tensor:
    others = values.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
    return torch.lerp(others, values, kept.view(-1, *[1] * (values.ndim - 1)))
