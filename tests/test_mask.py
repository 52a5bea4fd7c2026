"""The additional task to predict where a fake was changed, and the mean of the weights of two trainings."""

import re

import pytest
import torch

import tests.test_blend as blending
from common.errors import BadInputError
from image_based.config import ImageConfig
from image_based.main import starting_network
from image_based.models import build_model
from image_based.models.mask_head import add_mask_head
from shipped.release import write_half
from training.average import mean_weights
from training.checkpoint import load_weights, read_checkpoint
from training.config import ConfigError, load_config
from training.mask import mask_loss, mask_targets
from video_based.config import VideoConfig

faces = blending.faces  # a fixture


def pair_of(changed, shift=0):
    """A fake and its real face of 64 px, which differ by `changed` levels in the upper left quarter."""
    real = torch.full((64, 64, 3), 100, dtype=torch.uint8)
    fake = real + shift
    fake[:32, :32] += changed
    return [fake, real]


def test_the_target_is_where_a_fake_differs_from_its_real_face():
    images, labels = torch.stack([*pair_of(20), *pair_of(2), *pair_of(20, shift=9)]), torch.tensor([1, 0] * 3)
    targets, alike = mask_targets(images, labels, 4)
    assert targets.shape == (6, 16)
    upper_left = torch.zeros(4, 4)
    upper_left[:2, :2] = 1
    torch.testing.assert_close(targets[0].view(4, 4), upper_left)
    torch.testing.assert_close(targets[2].view(4, 4), upper_left / 2)  # hardly visible
    assert not targets[1::2].any(), "real faces are changed nowhere"
    assert alike.tolist() == [1, 1, 1, 1, 0, 0], "a pair that differs everywhere was cut out otherwise"


def test_the_loss_rewards_the_right_mask_and_ignores_pairs_cut_out_otherwise():
    images, labels = torch.stack([*pair_of(20), *pair_of(20, shift=9)]), torch.tensor([1, 0] * 2)
    targets, _ = mask_targets(images, labels, 4)
    right = 10 * (2 * targets - 1)
    wrong_where_ignored = torch.cat([right[:2], -right[2:]])
    assert mask_loss(right, images, labels) < 0.01 < mask_loss(-right, images, labels)
    assert mask_loss(wrong_where_ignored, images, labels) == mask_loss(right, images, labels)
    assert mask_loss(right[2:], images[2:], labels[2:]) == 0


def test_a_network_with_a_mask_scores_as_without(tmp_path):
    torch.manual_seed(0)
    plain = build_model("efficientnet-lite0").eval()
    network = build_model("efficientnet-lite0")
    network.load_state_dict(plain.state_dict())
    add_mask_head(network)
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        assert network.train()(images).shape == (2, 2 + 14 * 14)
        network.load_state_dict(plain.state_dict(), strict=False)  # the batch norms have moved
        torch.testing.assert_close(network.eval()(images), plain(images), rtol=0, atol=0)
    write_half(tmp_path / "half.pth.tar", {"step": 1, "arch": "x", "state_dict": network.state_dict()})
    load_weights(build_model("efficientnet-lite0"), read_checkpoint(tmp_path / "half.pth.tar")["state_dict"], "half")
    with pytest.raises(BadInputError, match="mask needs an EfficientNet"):
        add_mask_head(build_model("resnet34"))


def test_a_training_with_a_mask_goes_on_and_its_mean_is_a_checkpoint(run, faces, tmp_path):
    root, _ = faces

    def train(experiments, *more):
        settings = [word for value in blending.words(root, average=0.9, mask=0.5) for word in ("--set", value)]
        where = ("--experiments", experiments, "--datetime", "now")
        return run("-m", "image_based.main", "--config", blending.CONFIG, *where, *settings, *more)

    train(tmp_path / "whole")
    whole, resumed = (tmp_path / f"{name}/lite0_sets160/now" for name in ("whole", "resumed"))
    resumed.mkdir(parents=True)
    (resumed / "ckpt_iter_3.pth.tar").write_bytes((whole / "ckpt_iter_3.pth.tar").read_bytes())
    train(tmp_path / "resumed", "--recover")
    ours, expected = (read_checkpoint(folder / "ckpt_iter_5.pth.tar")["trained"] for folder in (resumed, whole))
    assert all(torch.equal(ours[name], value) for name, value in expected.items())
    start = starting_network(load_config(blending.CONFIG, ImageConfig, [*blending.words(root), "mask=0.5"]))
    (head,) = (name for name in expected if name.endswith("mask_head.weight"))
    assert start.mask_head.weight.shape == expected[head].shape

    words = (whole / "ckpt_iter_3.pth.tar", whole / "ckpt_iter_5.pth.tar", "--output", tmp_path / "mean.pth.tar")
    assert "average: 0.25 of" in run("-m", "training.average", *words, "--share", 0.25).stdout
    mean, first, last = map(read_checkpoint, (tmp_path / "mean.pth.tar", *words[:2]))
    assert (mean["step"], mean["arch"]) == (5, "efficientnet-lite0")
    load_weights(build_model("efficientnet-lite0"), mean["state_dict"], "the mean")
    (name,) = (name for name in first["state_dict"] if name.endswith("_fc.weight"))
    expected = 0.75 * first["state_dict"][name] + 0.25 * last["state_dict"][name]
    torch.testing.assert_close(mean["state_dict"]["_fc.weight"], expected)


def test_only_weights_of_one_network_have_a_mean():
    first, second = {"module.a": torch.zeros(2)}, {"a": torch.ones(2).half(), "mask_head.weight": torch.ones(1)}
    assert mean_weights(first, second, 0.5)["a"].tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="different networks"):
        mean_weights(first, {"a": torch.ones(3)}, 0.5)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [(["together=1", "blend=null"], "mask needs together: 2"), (["mixup=0.5"], "mask and mixup do not go together")],
)
def test_a_mask_needs_unmixed_pairs(faces, values, complaint):
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        load_config(blending.CONFIG, ImageConfig, [*blending.words(faces[0])[:3], "mask=0.1", *values])


def test_a_video_network_predicts_no_mask():
    config = blending.ROOT / "video_based/configs/config.yaml"
    with pytest.raises(ConfigError, match="mask is for image networks"):
        load_config(config, VideoConfig, ["mask=0.1", "together=2"])
