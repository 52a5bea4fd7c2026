"""An additional task for image networks: where a fake differs from its real face.

What differs is measured in the images that the network sees, fake beside real, after all augmentation. So every pair
of fake and real face that was cut out alike counts, whether the fake was made here or by others.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

MASK_HEAD = "mask_head"  # the name of the layer that predicts it, which no released network has
VISIBLE = 4.0  # levels: a cell with at least this mean difference counts fully
ALIKE = 1.5  # levels: a pair of which a tenth of the cells differ by less was cut out alike


def split(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of the classes [B, 2] and of the mask's cells [B, side * side] in a network's outputs."""
    return outputs[:, :2], outputs[:, 2:]


def mask_loss(cells: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """The mean binary cross entropy of cells' logits [B, side * side], over the pairs that were cut out alike.

    Images are RGB uint8 [B, H, W, 3]; those at 2i and 2i + 1 are a pair. Labels are [B] (1 FAKE).
    """
    targets, alike = mask_targets(images, labels, math.isqrt(cells.shape[1]))
    losses = F.binary_cross_entropy_with_logits(cells, targets, reduction="none").mean(dim=1)
    return (losses * alike).sum() / alike.sum().clamp(min=1)


def mask_targets(images: Tensor, labels: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """How much each image's cells were changed, float32 [B, side * side] in [0, 1], and which pairs count, float32 [B].

    Real faces are changed nowhere.
    """
    differences = (images[::2].float() - images[1::2].float()).abs().mean(dim=-1, keepdim=True).movedim(-1, 1)
    cells = F.adaptive_avg_pool2d(differences, side).flatten(1)
    alike = (torch.quantile(cells, 0.1, dim=1) < ALIKE).float()
    changed = (cells / VISIBLE).clamp(max=1).repeat_interleave(2, dim=0)
    return changed * labels[:, None], alike.repeat_interleave(2)
