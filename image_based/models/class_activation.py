"""Class activation maps (Zhou et al., CVPR 2016): where in an image the log odds of FAKE come from.

The image networks here end with the mean over a feature map and a linear layer. So the log odds are exactly the mean of
a map, which needs no gradients: the features at each place times the difference between the layer's two rows, plus the
difference between its biases. Networks with another head, as timm's MobileNetV3 has one, have no such map.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import ResNet

from image_based.models.xception import Xception


def features_of(network: nn.Module, images: Tensor) -> Tensor:
    """The last feature map of an image network: images [B, 3, H, W] -> [B, K, h, w]."""
    if isinstance(network, ResNet):
        stem = network.maxpool(network.relu(network.bn1(network.conv1(images))))
        return network.layer4(network.layer3(network.layer2(network.layer1(stem))))
    return _timm(network).forward_features(images)


def logits_of(network: nn.Module, features: Tensor) -> Tensor:
    """The logits [B, num_classes] that a network computes from its feature map [B, K, h, w]."""
    if isinstance(network, ResNet):
        return network.fc(torch.flatten(network.avgpool(features), 1))
    return _timm(network).forward_head(features)


def activation_map(network: nn.Module, features: Tensor) -> Tensor:
    """The map of a network with two classes: features [B, K, h, w] -> [B, h, w], whose mean is the log odds of FAKE.

    The value at a place is what the log odds would be if every place looked like it.
    """
    last: Any = last_layer(network)
    weight, bias = last.weight[1] - last.weight[0], last.bias[1] - last.bias[0]
    return torch.einsum("bkhw,k->bhw", features, weight) + bias


def gives_maps(network: nn.Module, images: Tensor) -> bool:
    """Whether a network in evaluation mode has such maps: whether their means for images [B, 3, H, W] are its log odds.

    False for a network that is neither a ResNet nor of timm.
    """
    last = last_layer(network)
    if not isinstance(last, nn.Linear):
        return False
    with torch.no_grad():
        features = features_of(network, images)
        if features.ndim != 4 or features.shape[1] != last.in_features:
            return False
        odds = logits_of(network, features).diff(dim=1).flatten()
        means = activation_map(network, features).mean(dim=(1, 2))
    return torch.allclose(odds, means, rtol=1e-3, atol=1e-3, equal_nan=True)


def last_layer(network: nn.Module) -> nn.Module | None:
    """The layer that gives the logits; None for a network that does not name it."""
    if isinstance(network, ResNet):
        return network.fc
    classifier = getattr(_timm(network), "get_classifier", None)
    return None if classifier is None else classifier()


def _timm(network: nn.Module) -> Any:  # noqa: ANN401 - timm gives its networks no types
    return network.model if isinstance(network, Xception) else network
