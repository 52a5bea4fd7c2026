"""Starting weights in the layouts they were published in, loaded into our networks.

lukemelas' EfficientNet and torchvision's ResNet agree with ours by name; Cadene's Xception stores its pointwise
convolutions without their two unit dimensions; SlowFast's file is a checkpoint of 400 classes. All end in another
number of classes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from training.checkpoint import load_weights, read_weights
from training.config import TrainingConfig


def starting_network(
    build: Callable[[str], nn.Module], last_layers: Mapping[str, str], config: TrainingConfig
) -> nn.Module:
    """The config's network, with its pretrained weights if it names some; `last_layers` are the
    archs' names of theirs.
    """
    network = build(config.arch)
    if config.pretrained:
        load_pretrained(network, Path(config.pretrained), last_layers[config.arch])
    return network


def load_pretrained(model: nn.Module, path: Path, last_layer: str) -> None:
    """Load a published file: everything but the last layer must fit, or CheckpointError lists what does not."""
    weights = {name: to_convolution(name, value) for name, value in read_weights(path).items()}
    load_weights(model, weights, str(path), fresh=last_layer)


def to_convolution(name: str, value: Tensor) -> Tensor:
    """A pointwise weight [out, in] -> [out, in, 1, 1]; everything else as it is."""
    return value[:, :, None, None] if name.endswith("pointwise.weight") and value.ndim == 2 else value
