"""`training.average`: the mean of the weights before and after a training, and trainings that average as they go."""

import pytest
import torch

import tests.test_blend as blending
from image_based.models import build_model
from training.average import mean_weights
from training.checkpoint import load_weights, read_checkpoint

faces = blending.faces  # a fixture


def test_a_training_with_a_moving_average_goes_on_and_its_mean_is_a_checkpoint(run, faces, tmp_path):
    root, _ = faces

    def train(experiments, *more):
        settings = [word for value in blending.words(root, average=0.9) for word in ("--set", value)]
        where = ("--experiments", experiments, "--datetime", "now")
        return run("-m", "image_based.main", "--config", blending.CONFIG, *where, *settings, *more)

    train(tmp_path / "whole")
    whole, resumed = (tmp_path / f"{name}/lite0_sets160/now" for name in ("whole", "resumed"))
    resumed.mkdir(parents=True)
    (resumed / "ckpt_iter_3.pth.tar").write_bytes((whole / "ckpt_iter_3.pth.tar").read_bytes())
    train(tmp_path / "resumed", "--recover")
    ours, expected = (read_checkpoint(folder / "ckpt_iter_5.pth.tar")["trained"] for folder in (resumed, whole))
    assert all(torch.equal(ours[name], value) for name, value in expected.items())

    words = (whole / "ckpt_iter_3.pth.tar", whole / "ckpt_iter_5.pth.tar", "--output", tmp_path / "mean.pth.tar")
    assert "average: 0.25 of" in run("-m", "training.average", *words, "--share", 0.25).stdout
    mean, first, last = map(read_checkpoint, (tmp_path / "mean.pth.tar", *words[:2]))
    assert (mean["step"], mean["arch"]) == (5, "efficientnet-lite0")
    load_weights(build_model("efficientnet-lite0"), mean["state_dict"], "the mean")
    (name,) = (name for name in first["state_dict"] if name.endswith("_fc.weight"))
    expected = 0.75 * first["state_dict"][name] + 0.25 * last["state_dict"][name]
    torch.testing.assert_close(mean["state_dict"]["_fc.weight"], expected)


def test_only_weights_of_one_network_have_a_mean():
    first, second = {"module.a": torch.zeros(2)}, {"a": torch.ones(2).half()}
    assert mean_weights(first, second, 0.5)["a"].tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="different networks"):
        mean_weights(first, {"a": torch.ones(3)}, 0.5)
