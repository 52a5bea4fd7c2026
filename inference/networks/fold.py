"""A network in its fastest exact form: batch norms folded into the convolutions before them, channels last in memory.

On two CPU cores this halves the time of most members (benchmarks/networks.py); outputs differ by float32 rounding only.
"""

from typing import Any

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from training.inputs import memory_format

CONVOLUTIONS, NORMS = (nn.Conv2d, nn.Conv3d), (nn.BatchNorm2d, nn.BatchNorm3d)


def fastest(network: nn.Module, example: Tensor) -> nn.Module:
    """The network, changed in place, in evaluation mode; `example` is any small input for it, as [1, 3, 64, 64]."""
    network.eval()
    for convolution, norm, name in _pairs(network, example):
        fused = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
        convolution.weight, convolution.bias = fuse_conv_bn_weights(convolution.weight, convolution.bias, *fused)
        # timm's batch norm includes its activation, which has to stay.
        rest = norm.act if isinstance(norm, BatchNormAct2d) else nn.Identity()
        network.set_submodule(name, rest)
    return network.to(memory_format=memory_format(example))


def _pairs(network: nn.Module, example: Tensor) -> list[tuple[Any, Any, str]]:
    """Each convolution, the batch norm that takes its output, and the norm's name, found by running the network once.

    Raises ValueError if a batch norm follows something else: it could not be folded. No network here has such a one.
    """
    # A tensor's id to the module that made it. The tensor is kept, so that no other tensor gets its id.
    source: dict[int, tuple[nn.Module, Tensor]] = {}
    pairs: list[tuple[Any, Any, str]] = []

    def made(convolution: nn.Module, _: tuple[Tensor], output: Tensor) -> None:
        source[id(output)] = convolution, output

    def taken(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        if id(inputs[0]) not in source:
            raise ValueError(f"{names[norm]} does not follow a convolution")
        pairs.append((source[id(inputs[0])][0], norm, names[norm]))

    names = {module: name for name, module in network.named_modules()}
    hooks = [module.register_forward_hook(made) for module in names if isinstance(module, CONVOLUTIONS)]
    hooks += [module.register_forward_pre_hook(taken) for module in names if isinstance(module, NORMS)]
    try:
        with torch.inference_mode():
            network(example)
    finally:
        for hook in hooks:
            hook.remove()
    return pairs
