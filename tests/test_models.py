"""EfficientNet against the contract: names, shapes, parameters, maps."""

import json

import pytest
import torch

from image_based.models import build_model
from training.checkpoint import CheckpointError, load_weights, read_weights

VARIANTS = ("b0", "b1", "b3")


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_and_maps_at_299(values, variant):
    recorded = values["efficientnet_299"][f"efficientnet-{variant}"]
    model = build_model(f"efficientnet-{variant}").eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == recorded["n_params"]
    assert len(model.state_dict()) == recorded["n_state_keys"]
    sides = []
    for layer in (model.conv_stem, *(block for stage in model.blocks for block in stage)):
        layer.register_forward_hook(lambda _, __, output: sides.append(output.shape[-1]))
    with torch.inference_mode():
        assert model(torch.randn(1, 3, 299, 299)).shape == (1, 2)
    assert sides == recorded["spatial_after_stem_and_blocks"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_and_shapes_are_the_published_ones(shared, variant):
    published = json.loads(shared("reference/checkpoint_keys.json").read_text())[variant]["shapes"]
    state = build_model(f"efficientnet-{variant}").state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == published


def test_stride_2_pads_right_and_below_only():
    conv = build_model("efficientnet-b0").conv_stem
    with torch.no_grad():
        conv.weight.zero_()[:, :, 2, 2] = 1  # picks the lower right pixel of each window
    image = torch.arange(1.0, 26).reshape(1, 1, 5, 5).expand(1, 3, 5, 5)
    output = conv(image)[0, 0] / 3
    assert output.tolist() == [[13, 15], [23, 25]]


def test_state_dict_round_trip_changes_outputs_to_the_sources():
    source, target = (build_model("efficientnet-b0").eval() for _ in range(2))
    image = torch.randn(1, 3, 64, 64)
    load_weights(target, {f"module.{name}": value for name, value in source.state_dict().items()}, "a test")
    with torch.inference_mode():
        torch.testing.assert_close(target(image), source(image))


def test_a_fresh_last_layer_starts_near_even_odds():
    """timm's own start for two classes gives logits of several units: a first loss of 3 and more instead of .7."""
    torch.manual_seed(0)
    bound = 1280**-0.5
    assert build_model("efficientnet-b0").state_dict()["_fc.weight"].abs().max() <= bound


def test_unknown_arch_lists_the_known():
    with pytest.raises(ValueError, match="efficientnet-b0, efficientnet-b1, efficientnet-b3"):
        build_model("efficientnet-b9")


def test_every_mismatch_is_listed():
    state = build_model("efficientnet-b0").state_dict()
    del state["_conv_head.weight"]
    state["extra.weight"] = torch.zeros(1)
    state["_bn0.bias"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as error:
        load_weights(build_model("efficientnet-b0"), state, "a.pth")
    for part in ("a.pth", "missing _conv_head.weight", "unexpected extra.weight", "_bn0.bias is (3,), not (32,)"):
        assert part in str(error.value)


def test_only_the_last_layer_may_differ_in_classes(capsys):
    thousand = build_model("efficientnet-b0", num_classes=1000).state_dict()
    model = build_model("efficientnet-b0")
    head = model.state_dict()["_fc.weight"].clone()
    load_weights(model, thousand, "imagenet.pth", fresh="_fc")
    torch.testing.assert_close(model.state_dict()["_conv_stem.weight"], thousand["_conv_stem.weight"])
    torch.testing.assert_close(model.state_dict()["_fc.weight"], head)
    assert "imagenet.pth: _fc.weight (1000, 1280) does not fit (2, 1280)" in capsys.readouterr().out
    with pytest.raises(CheckpointError):
        load_weights(build_model("efficientnet-b0"), thousand, "imagenet.pth")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 half a zip"])
def test_a_file_that_is_no_checkpoint_says_so(tmp_path, content):
    path = tmp_path / "b0.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"b0\.pth is not a readable checkpoint"):
        read_weights(path)
    with pytest.raises(FileNotFoundError, match="absent"):
        read_weights(tmp_path / "absent.pth")


def test_pickled_code_is_not_run(tmp_path):
    class Harm:
        def __reduce__(self):
            return (print, ("code ran",))

    torch.save({"state_dict": Harm()}, tmp_path / "harm.pth")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        read_weights(tmp_path / "harm.pth")
