"""The image networks by the reference's `arch` names, with `efficientnet-lite0` and `-lite2` in addition."""

from collections.abc import Callable
from functools import partial

from torch import nn
from torchvision.models import resnet34

from common.errors import BadInputError
from image_based.models.efficientnet import efficientnet
from image_based.models.xception import Xception

ARCHS: dict[str, Callable[[int], nn.Module]] = {
    "efficientnet-b0": partial(efficientnet, "b0"),
    "efficientnet-b1": partial(efficientnet, "b1"),
    "efficientnet-b3": partial(efficientnet, "b3"),
    "efficientnet-lite0": partial(efficientnet, "lite0"),
    "efficientnet-lite2": partial(efficientnet, "lite2"),
    "resnet34": lambda num_classes: resnet34(num_classes=num_classes),
    "xception": Xception,
}
LAST_LAYERS = {
    "efficientnet-b0": "_fc",
    "efficientnet-b1": "_fc",
    "efficientnet-b3": "_fc",
    "efficientnet-lite0": "_fc",
    "efficientnet-lite2": "_fc",
    "resnet34": "fc",
    "xception": "model.fc",
}


def build_model(arch: str, num_classes: int = 2) -> nn.Module:
    """The network of that name with random weights: images [B, 3, H, W] -> logits [B, num_classes].

    Raises BadInputError for an unknown name, listing the known ones.
    """
    if arch not in ARCHS:
        raise BadInputError(f"unknown arch {arch!r}; known are {', '.join(sorted(ARCHS))}")
    return ARCHS[arch](num_classes)
