"""Load pretrained weights, in the layouts of their publishers, into our networks.

lukemelas' EfficientNet and torchvision's ResNet have the same names as ours. Cadene's Xception stores its pointwise
convolutions without their last two dimensions, of size 1. SlowFast's file is a checkpoint of 400 classes. All have
another number of classes than ours in the last layer.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from training.checkpoint import load_weights, read_weights
from training.config import TrainingConfig


def starting_network(
    build: Callable[[str], nn.Module], last_layers: Mapping[str, str], config: TrainingConfig
) -> nn.Module:
    """The config's network, with pretrained weights if the config names some.

    `last_layers` maps each arch to the name of its last layer.
    """
    network = build(config.arch)
    if config.pretrained:
        load_pretrained(network, Path(config.pretrained), last_layers[config.arch])
    return network


def load_pretrained(model: nn.Module, path: Path, last_layer: str) -> None:
    """Load a published file; raises CheckpointError listing what does not fit, except in the last layer."""
    weights = {name: to_convolution(name, value) for name, value in read_weights(path).items()}
    load_weights(model, weights, str(path), fresh=last_layer)


def to_convolution(name: str, value: Tensor) -> Tensor:
    """A pointwise weight [out, in] -> [out, in, 1, 1]; everything else as it is."""
    return value[:, :, None, None] if name.endswith("pointwise.weight") and value.ndim == 2 else value
