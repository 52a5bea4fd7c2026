"""The networks: their arithmetic against plain functions, their parts against the reference, their use with torch."""

import math

import pytest
import torch
from torch import nn

import image_based.models
import video_based.models
from common.errors import BadInputError
from inference.networks.fold import fastest
from tests.functional import FORWARD
from training.checkpoint import bare_name
from training.inputs import memory_format

EFFICIENTNETS = ("efficientnet-b0", "efficientnet-b1", "efficientnet-b3")
NETWORKS = (*EFFICIENTNETS, "efficientnet-lite0", "efficientnet-lite2", "resnet34", "xception", "slowfast50")
PARAMETERS = {
    "efficientnet-b0": 4_010_110, "efficientnet-b1": 6_515_746, "efficientnet-b3": 10_699_306,
    "efficientnet-lite0": 3_373_570, "efficientnet-lite2": 4_813_634, "xception": 20_811_050, "slowfast50": 33_561_898,
}  # fmt: skip


def build(arch, num_classes=2):
    package = video_based.models if arch in video_based.models.ARCHS else image_based.models
    return package.build_model(arch, num_classes)


def lively(arch):
    """A network in evaluation mode whose batch norms do something."""
    torch.manual_seed(0)
    model = build(arch).eval()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.1)
            nn.init.normal_(layer.running_mean, std=0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return model


def example(arch, batch=2, side=75, frames=9, dtype=torch.float32):
    shape = (batch, 3, frames, side, side) if arch == "slowfast50" else (batch, 3, side, side)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def relative(output, expected):
    return ((output - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("arch", NETWORKS)
@pytest.mark.parametrize(("side", "frames"), [(75, 9), (96, 4)])
def test_arithmetic_equals_a_plain_function_in_float64(arch, side, frames):
    model = lively(arch).double()
    images = example(arch, side=side, frames=frames, dtype=torch.float64)
    state = {bare_name(name): value for name, value in model.state_dict().items()}
    with torch.inference_mode():
        output, expected = model(images), FORWARD[arch](state, images)
    assert expected.std() > 1e-6, "outputs too alike for the comparison to mean anything"
    assert relative(output, expected) < 1e-9


@pytest.mark.parametrize("arch", PARAMETERS)
def test_parameters(arch):
    assert sum(parameter.numel() for parameter in build(arch).parameters()) == PARAMETERS[arch]


def test_an_unknown_arch_lists_the_known_ones():
    with pytest.raises(
        BadInputError,
        match="efficientnet-b0, efficientnet-b1, efficientnet-b3, efficientnet-lite0, efficientnet-lite2, resnet34, "
        "xception",
    ):
        image_based.models.build_model("slowfast50")
    with pytest.raises(BadInputError, match="known are slowfast50"):
        video_based.models.build_model("xception")


# EfficientNet's own points


def sides_of_maps(model, side):
    sides = []
    for layer in (model.conv_stem, *(block for stage in model.blocks for block in stage)):
        layer.register_forward_hook(lambda _, __, output: sides.append(output.shape[-1]))
    with torch.inference_mode():
        assert model(torch.randn(1, 3, side, side)).shape == (1, 2)
    return sides


@pytest.mark.parametrize("arch", EFFICIENTNETS)
def test_maps_at_299(values, arch):
    recorded = values["efficientnet_299"][arch]
    model = build(arch).eval()
    assert len(model.state_dict()) == recorded["n_state_keys"]
    assert sides_of_maps(model, 299) == recorded["spatial_after_stem_and_blocks"]


@pytest.mark.parametrize(("side", "last"), [(256, 8), (255, 7), (224, 7), (97, 3)])
def test_maps_at_other_sizes_follow_static_padding(side, last):
    sides = sides_of_maps(build("efficientnet-b0").eval(), side)
    expected = side
    for _ in range(5):
        expected = (expected + 1 - 3) // 2 + 1  # k3 pads 0+1, k5 1+2: the same number of places
    assert sides[-1] == expected == last


def test_stride_2_pads_right_and_below_only():
    conv = build("efficientnet-b0").conv_stem
    with torch.no_grad():
        conv.weight.zero_()[:, :, 2, 2] = 1  # picks the lower right pixel of each window
    image = torch.arange(1.0, 26).reshape(1, 1, 5, 5).expand(1, 3, 5, 5)
    assert (conv(image)[0, 0] / 3).tolist() == [[13, 15], [23, 25]]


@pytest.mark.parametrize(("arch", "dropout"), list(zip(EFFICIENTNETS, (0.2, 0.2, 0.3), strict=True)))
def test_batch_norm_dropout_and_drop_connect(arch, dropout):
    model = build(arch)
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert {(norm.momentum, norm.eps) for norm in norms} == {(0.01, 1e-3)}
    assert model.drop_rate == dropout
    blocks = [block for stage in model.blocks for block in stage]
    for number, block in enumerate(blocks[1:], start=1):
        assert block.drop_path.drop_prob == pytest.approx(0.2 * number / len(blocks))


@pytest.mark.parametrize("arch", EFFICIENTNETS)
def test_squeeze_width_follows_the_blocks_input(arch):
    state = build(arch).state_dict()
    width = state["_conv_stem.weight"].shape[0]
    number = 0
    while f"_blocks.{number}._se_reduce.weight" in state:
        assert state[f"_blocks.{number}._se_reduce.weight"].shape[0] == width // 4
        width = state[f"_blocks.{number}._project_conv.weight"].shape[0]
        number += 1


def test_a_fresh_last_layer_starts_near_even_odds():
    """timm's initialisation for two classes gives logits of several units: a first loss of 3 or more, not 0.7."""
    torch.manual_seed(0)
    assert build("efficientnet-b0").state_dict()["_fc.weight"].abs().max() <= 1280**-0.5


# SlowFast's own points


@pytest.mark.parametrize(("frames", "slow"), [(1, 1), (4, 1), (5, 2), (32, 8), (38, 10)])
def test_the_slow_path_sees_every_fourth_frame(frames, slow):
    model = build("slowfast50").eval()
    seen = []
    model.slow_res4.register_forward_hook(lambda _, __, output: seen.append(output.shape[2]))
    model.fast_res4.register_forward_hook(lambda _, __, output: seen.append(output.shape[2]))
    with torch.inference_mode():
        model(example("slowfast50", batch=1, side=64, frames=frames))
    assert seen == [slow, frames]
    assert slow == math.ceil(frames / 4)


def test_slowfast_dropout():
    assert build("slowfast50").dropout.p == 0.5


# Use with torch


@pytest.mark.parametrize("arch", NETWORKS)
def test_gradients_reach_every_parameter(arch):
    model = lively(arch)
    model(example(arch)).square().sum().backward()
    unreached = [
        name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert unreached == []


@pytest.mark.parametrize("arch", NETWORKS)
def test_outputs_do_not_depend_on_the_batch(arch):
    model, images = lively(arch), example(arch, batch=3)
    with torch.inference_mode():
        together = model(images)
        alone = torch.cat([model(image[None]) for image in images])
    assert relative(together, alone) < 1e-4


@pytest.mark.parametrize("arch", NETWORKS)
def test_channels_last_and_bf16(arch):
    model, images = lively(arch), example(arch)
    layout = torch.channels_last_3d if arch == "slowfast50" else torch.channels_last
    with torch.inference_mode():
        expected = model(images)
        model = model.to(memory_format=layout)
        assert relative(model(images.to(memory_format=layout)), expected) < 1e-4
        with torch.autocast("cpu", torch.bfloat16):
            output = model(images)
    assert output.isfinite().all()
    assert relative(output.float(), expected) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("arch", NETWORKS)
def test_compile_and_export(arch):
    """One graph without breaks, and the exported program gives the same output. (Inductor's speed:
    benchmarks/networks.py.)
    """
    model, images = lively(arch), example(arch)
    with torch.inference_mode():
        expected = model(images)
        assert relative(torch.compile(model, backend="aot_eager", fullgraph=True)(images), expected) < 1e-5
    exported = torch.export.export(model, (images,))
    with torch.inference_mode():
        assert relative(exported.module()(images), expected) < 1e-6


@pytest.mark.parametrize("arch", NETWORKS)
def test_the_fastest_form_gives_the_same_output(arch):
    model, images = lively(arch), example(arch)
    with torch.inference_mode():
        expected = model(images)
        folded = fastest(model, example(arch, batch=1, side=64, frames=2))
        assert not [layer for layer in folded.modules() if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d)]
        assert relative(folded(images.contiguous(memory_format=memory_format(images))), expected) < 1e-4


def test_a_batch_norm_that_follows_no_convolution_is_refused():
    with pytest.raises(ValueError, match="0 does not follow a convolution"):
        fastest(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1)), torch.zeros(1, 3, 4, 4))
