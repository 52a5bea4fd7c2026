"""The image networks by the reference's `arch` names. The other two (xception, resnet34) have their own issue."""

from collections.abc import Callable

from torch import nn

from image_based.models.efficientnet import efficientnet

ARCHS: dict[str, Callable[[int], nn.Module]] = {
    "efficientnet-b0": lambda classes: efficientnet("b0", classes),
    "efficientnet-b1": lambda classes: efficientnet("b1", classes),
    "efficientnet-b3": lambda classes: efficientnet("b3", classes),
}
LAST_LAYERS = {"efficientnet-b0": "_fc", "efficientnet-b1": "_fc", "efficientnet-b3": "_fc"}


def build_model(arch: str, num_classes: int = 2) -> nn.Module:
    """A network of that name with random weights: images [B, 3, H, W] -> logits [B, num_classes].

    Raises ValueError listing the known names for an unknown one.
    """
    if arch not in ARCHS:
        raise ValueError(f"unknown arch {arch!r}; known are {', '.join(sorted(ARCHS))}")
    return ARCHS[arch](num_classes)
