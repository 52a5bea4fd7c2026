"""Distillation: trained networks say, of the same batch, what the network in training should answer.

Not of the contract; distillation is of Hinton et al. (2015), that both see the same views, mixed ones too, of Beyer et al. (2022).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Teachers(nn.Module):
    """Networks as one, in evaluation mode and without gradients: images [B, ...] -> the mean of their logits [B, classes].

    They see the images as the network in training does: its size, its order of colours, its mean and std.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([network(images) for network in self.networks]).mean(dim=0)


def taught(targets: Tensor, logits: Tensor, share: float) -> Tensor:
    """Labels [B], or probabilities of the classes [B, C], and the teachers' logits [B, C] -> the probabilities to learn [B, C].

    `share` of them is the teachers'.
    """
    own = targets if targets.is_floating_point() else F.one_hot(targets, logits.shape[1]).float()
    return torch.lerp(own, logits.softmax(dim=1), share)
