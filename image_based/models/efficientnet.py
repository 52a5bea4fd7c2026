"""EfficientNet-b0, b1 and b3 (Tan and Le, 2019) as the reference trained them (reference, section 4); lite0 and lite2.

The blocks are timm's, with two differences. Padding is static: it follows from the nominal image size, not the actual
one, so every stride-2 convolution pads one pixel more on the right and below. And state dicts have the published names
(`_conv_stem`, `_blocks.0._depthwise_conv`, ...), both when they are read and when they are written.

The reference does not have lite0 and lite2. They are Google's b0 and b2 for phones, without squeeze and excitation and
with ReLU6 instead of swish. The widths of stem and head, and the numbers of blocks in the first and last stage, are
those of b0. Packages of the registry hold their ImageNet weights.
"""

import re
from functools import partial
from typing import Any

import timm
import torch.nn.functional as F
from torch import Tensor, nn

DROPOUT = {"b0": 0.2, "b1": 0.2, "b3": 0.3, "lite0": 0.2, "lite2": 0.3}
DROP_CONNECT = 0.2  # times block / number of blocks
BN_MOMENTUM, BN_EPS = 0.01, 1e-3

TOP = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
SQUEEZE = {"se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand", "conv_dw": "_depthwise_conv"}
FIRST_BLOCK = SQUEEZE | {"bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
BLOCK = SQUEEZE | {"conv_pw": "_expand_conv", "bn1": "_bn0", "bn2": "_bn1", "conv_pwl": "_project_conv", "bn3": "_bn2"}


class StaticPadConv2d(nn.Conv2d):
    """A stride-2 convolution that pads (k-3)/2 + (0, 1) before and after: k=3 (0, 1), k=5 (1, 2)."""

    def forward(self, x: Tensor) -> Tensor:
        before, after = (self.kernel_size[0] - 3) // 2, (self.kernel_size[0] - 1) // 2
        return self._conv_forward(F.pad(x, (before, after, before, after)), self.weight, self.bias)


def efficientnet(variant: str, num_classes: int) -> nn.Module:
    """EfficientNet `b0`, `b1`, `b3`, `lite0` or `lite2`: images [B, 3, H, W] -> logits [B, num_classes]."""
    model: Any = timm.create_model(  # timm gives its layers no types
        f"efficientnet_{variant}",
        num_classes=num_classes,
        drop_rate=DROPOUT[variant],
        drop_path_rate=DROP_CONNECT,
        bn_momentum=BN_MOMENTUM,
        bn_eps=BN_EPS,
    )
    # PyTorch's initialisation, as in the reference; timm's is meant for a thousand classes
    model.classifier.reset_parameters()
    _pad_statically(model)
    to_published = _published_names(model)
    from_published = {published: name for name, published in to_published.items()}
    model.register_state_dict_post_hook(partial(_rename, names=to_published))
    model.register_load_state_dict_pre_hook(partial(_rename, names=from_published))
    return model


def _pad_statically(model: nn.Module) -> None:
    for conv in model.modules():
        if isinstance(conv, nn.Conv2d) and conv.stride == (2, 2):
            conv.__class__ = StaticPadConv2d
            conv.padding = (0, 0)


def _published_names(model: nn.Module) -> dict[str, str]:
    """timm's names of all layers and the published ones, such as `blocks.1.0.conv_pw`: `_blocks.1._expand_conv`."""
    names = dict(TOP)
    blocks = [(name, block) for name, block in model.named_modules() if re.fullmatch(r"blocks\.\d+\.\d+", name)]
    for number, (name, block) in enumerate(blocks):
        table = BLOCK if hasattr(block, "conv_pwl") else FIRST_BLOCK
        names |= {f"{name}.{layer}": f"_blocks.{number}.{published}" for layer, published in table.items()}
    return names


def _rename(_model: nn.Module, state: dict[str, Tensor], prefix: str, *__: object, names: dict[str, str]) -> None:
    """A state-dict hook: rename the layers of the entries below `prefix`, in place and in the same order."""
    entries = list(state.items())
    state.clear()
    for key, value in entries:
        layer, _, leaf = key.removeprefix(prefix).rpartition(".")
        state[f"{prefix}{names[layer]}.{leaf}" if key.startswith(prefix) and layer in names else key] = value
