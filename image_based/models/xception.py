"""Xception (Chollet, 2017) in Cadene's version (reference, section 4), as timm has it under Cadene's names."""

import timm
from torch import Tensor, nn


class Xception(nn.Module):
    """Images [B, 3, H, W] -> logits [B, num_classes].

    The network is a submodule `model`, because the published names begin with `model.`.
    """

    def __init__(self, num_classes: int = 2) -> None:
        super().__init__()
        self.model = timm.create_model("legacy_xception", num_classes=num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)
