"""The networks once more, as plain functions of a state dict, to compare outputs in float64.

Convolutions, batch norms and activations are written out, from the papers' tables (EfficientNet: Tan and Le 2019, table
1; Xception: Chollet 2017, figure 5; ResNet: He et al. 2016, table 1; SlowFast: Feichtenhofer et al. 2019, table 1) and
the reference's section 4.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


class State:
    """A state dict with bare names, and the layers that networks are made of."""

    def __init__(self, state: dict[str, Tensor], eps: float = 1e-5):
        self.state, self.eps = state, eps

    def norm(self, x, name):
        shape = (1, -1) + (1,) * (x.ndim - 2)
        mean, var, weight, bias = (
            self.state[f"{name}.{part}"].reshape(shape) for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(var + self.eps) * weight + bias

    def conv(self, x, name, stride=1, padding=0):
        weight = self.state[f"{name}.weight"]
        convolve = F.conv2d if x.ndim == 4 else F.conv3d
        groups = x.shape[1] // weight.shape[1]
        return convolve(x, weight, self.state.get(f"{name}.bias"), stride, padding, groups=groups)

    def linear(self, x, name):
        return x @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]


def plain_swish(x):
    return x / (1 + torch.exp(-x))


def relu6(x):
    return x.clamp(0, 6)


def efficientnet(state, images, depth, lite=False):
    """With `lite`: ReLU6 instead of swish, no squeeze and excitation, and one block in the first and the last stage,
    whatever the depth.
    """
    net, swish = State(state, eps=1e-3), relu6 if lite else plain_swish

    def pad(x, kernel, stride):
        before, after = (kernel // 2, kernel // 2) if stride == 1 else {3: (0, 1), 5: (1, 2)}[kernel]
        return F.pad(x, (before, after, before, after))

    x = swish(net.norm(net.conv(pad(images, 3, 2), "_conv_stem", stride=2), "_bn0"))
    stages = [(1, 3, 1), (2, 3, 2), (2, 5, 2), (3, 3, 2), (3, 5, 1), (4, 5, 2), (1, 3, 1)]
    number = 0
    for repeats, kernel, first_stride in stages:
        for repeat in range(1 if lite and repeats == 1 else math.ceil(repeats * depth)):
            block, stride, shortcut = f"_blocks.{number}", first_stride if repeat == 0 else 1, x
            if f"{block}._expand_conv.weight" in state:
                x = swish(net.norm(net.conv(x, f"{block}._expand_conv"), f"{block}._bn0"))
            x = swish(net.norm(net.conv(pad(x, kernel, stride), f"{block}._depthwise_conv", stride), f"{block}._bn1"))
            if not lite:
                squeezed = x.mean(dim=(2, 3), keepdim=True)
                gate = net.conv(swish(net.conv(squeezed, f"{block}._se_reduce")), f"{block}._se_expand")
                x = x / (1 + torch.exp(-gate))
            x = net.norm(net.conv(x, f"{block}._project_conv"), f"{block}._bn2")
            if stride == 1 and x.shape == shortcut.shape:
                x = x + shortcut
            number += 1
    x = swish(net.norm(net.conv(x, "_conv_head"), "_bn1"))
    return net.linear(x.mean(dim=(2, 3)), "_fc")


def xception(state, images):
    net = State(state)

    def separable(x, name):
        return net.conv(net.conv(x, f"{name}.conv1", padding=1), f"{name}.pointwise")

    x = F.relu(net.norm(net.conv(images, "conv1", stride=2), "bn1"))
    x = F.relu(net.norm(net.conv(x, "conv2"), "bn2"))
    for block in range(1, 13):
        entry, repeats = block <= 3 or block == 12, 2 if block <= 3 or block == 12 else 3
        shortcut = net.norm(net.conv(x, f"block{block}.skip", stride=2), f"block{block}.skipbn") if entry else x
        layer = 0
        for repeat in range(repeats):
            if not (block == 1 and repeat == 0):
                x = F.relu(x)
                layer += 1  # the ReLU takes a number of its own
            x = net.norm(separable(x, f"block{block}.rep.{layer}"), f"block{block}.rep.{layer + 1}")
            layer += 2
        x = (F.max_pool2d(x, 3, stride=2, padding=1) if entry else x) + shortcut
    x = F.relu(net.norm(separable(x, "conv3"), "bn3"))
    x = F.relu(net.norm(separable(x, "conv4"), "bn4"))
    return net.linear(x.mean(dim=(2, 3)), "fc")


def resnet34(state, images):
    net = State(state)
    x = F.relu(net.norm(net.conv(images, "conv1", stride=2, padding=3), "bn1"))
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    for stage, depth in enumerate((3, 4, 6, 3), start=1):
        for block in range(depth):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            shortcut = (
                net.norm(net.conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1") if stride == 2 else x
            )
            x = F.relu(net.norm(net.conv(x, f"{name}.conv1", stride, padding=1), f"{name}.bn1"))
            x = F.relu(net.norm(net.conv(x, f"{name}.conv2", padding=1), f"{name}.bn2") + shortcut)
    return net.linear(x.mean(dim=(2, 3)), "fc")


def slowfast50(state, clips):
    net = State(state)

    def stem(x, path, temporal):
        x = F.relu(
            net.norm(net.conv(x, f"{path}_conv1", stride=(1, 2, 2), padding=(temporal // 2, 3, 3)), f"{path}_bn1")
        )
        return F.max_pool3d(x, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))

    def stage(x, path, number, depth, temporal):
        for block in range(depth):
            name, shortcut = f"{path}_res{number}.{block}", x
            stride = (1, 2, 2) if number > 1 and block == 0 else 1
            if block == 0:
                shortcut = net.norm(net.conv(x, f"{name}.downsample.0", stride), f"{name}.downsample_bn")
            x = F.relu(net.norm(net.conv(x, f"{name}.conv1", padding=(temporal // 2, 0, 0)), f"{name}.bn1"))
            x = F.relu(net.norm(net.conv(x, f"{name}.conv2", stride, padding=(0, 1, 1)), f"{name}.bn2"))
            x = F.relu(net.norm(net.conv(x, f"{name}.conv3"), f"{name}.bn3") + shortcut)
        return x

    fast, slow = stem(clips, "fast", 5), stem(clips[:, :, ::4], "slow", 1)
    for number, (depth, slow_span) in enumerate(zip((3, 4, 6, 3), (1, 1, 3, 3), strict=True), start=1):
        lateral = net.conv(fast, f"Tconv{number}", stride=(4, 1, 1), padding=(2, 0, 0))
        slow = stage(torch.cat([slow, lateral], dim=1), "slow", number, depth, slow_span)
        fast = stage(fast, "fast", number, depth, 3)
    features = [path.mean(dim=(2, 3, 4)) for path in (slow, fast)]
    return net.linear(torch.cat(features, dim=1), "fc")


FORWARD = {
    "efficientnet-b0": lambda state, x: efficientnet(state, x, depth=1.0),
    "efficientnet-b1": lambda state, x: efficientnet(state, x, depth=1.1),
    "efficientnet-b3": lambda state, x: efficientnet(state, x, depth=1.4),
    "efficientnet-lite0": lambda state, x: efficientnet(state, x, depth=1.0, lite=True),
    "efficientnet-lite2": lambda state, x: efficientnet(state, x, depth=1.2, lite=True),
    "resnet34": resnet34,
    "xception": xception,
    "slowfast50": slowfast50,
}
