"""The video networks by the reference's `arch` names."""

from torch import nn

from common.errors import BadInputError
from video_based.models.slowfast import SlowFast50

ARCHS = {"slowfast50": SlowFast50}
LAST_LAYERS = {"slowfast50": "fc"}


def build_model(arch: str, num_classes: int = 2) -> nn.Module:
    """The network of that name with random weights: clips [B, 3, T, H, W] -> logits [B, num_classes].

    Raises BadInputError for an unknown name, listing the known ones.
    """
    if arch not in ARCHS:
        raise BadInputError(f"unknown arch {arch!r}; known are {', '.join(sorted(ARCHS))}")
    return ARCHS[arch](num_classes)
