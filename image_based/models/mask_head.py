"""An EfficientNet that predicts, in training, also where a face was changed (training/mask.py)."""

from typing import Any, cast

import torch
from timm.models.efficientnet import EfficientNet
from torch import Tensor, nn
from torch.nn import functional as F

from common.errors import BadInputError
from training.mask import MASK_HEAD

FINER = 2  # cells of the mask along each side of a place in the last feature map: 14 for 7 at 224 px


class EfficientNetWithMask(EfficientNet):
    """In training: images [B, 3, H, W] -> the classes' logits and then the mask's [B, 2 + (H // 16) * (W // 16)].

    In evaluation it gives the classes' logits only.
    """

    def forward(self, x: Tensor) -> Tensor:
        features = self.forward_features(x)
        logits: Tensor = self.forward_head(features)
        if not self.training:
            return logits
        cells = F.pixel_shuffle(getattr(self, MASK_HEAD)(features), FINER)
        return torch.cat([logits, cells.flatten(1)], dim=1)


def add_mask_head(network: nn.Module) -> None:
    """Give an EfficientNet a layer that predicts the mask. Raises BadInputError for another network."""
    if not isinstance(network, EfficientNet):
        raise BadInputError("mask needs an EfficientNet")
    network.__class__ = EfficientNetWithMask
    features = cast("Any", network).num_features
    network.add_module(MASK_HEAD, nn.Conv2d(features, FINER**2, 1))
