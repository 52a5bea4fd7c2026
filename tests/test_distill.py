"""Distillation: the targets by hand, the teachers' checkpoints, a training that learns from them."""

import math
from types import SimpleNamespace

import pytest
import torch

from common.errors import BadInputError
from image_based.config import ImageConfig
from image_based.main import PARTS
from image_based.models import build_model
from tests.conftest import ROOT
from training.checkpoint import save_checkpoint
from training.config import load_config
from training.distill import Teachers, taught
from training.distributed import World
from training.engine import make_optimizer, train
from training.run import teachers_of

ALONE = World(0, 1, torch.device("cpu"))


def config(*overrides):
    plain = ("reference_world_size=1", "positive_weight=0.5", "lr_scheduler.max_iter=1")
    return load_config(ROOT / "image_based/configs/b0/config.yaml", ImageConfig, [*plain, *overrides])


def test_targets_by_hand():
    logits = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]])  # .25 and .75, .5 and .5
    torch.testing.assert_close(taught(torch.tensor([1, 0]), logits, 0.4), torch.tensor([[0.1, 0.9], [0.8, 0.2]]))
    mixed = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    torch.testing.assert_close(taught(mixed, logits, 0.4), torch.tensor([[0.25, 0.75], [0.8, 0.2]]))


class Shade(torch.nn.Module):
    """Logits [0, w * mean of the image]."""

    def __init__(self, w):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor(w))

    def forward(self, images):
        means = images.mean(dim=(1, 2, 3))
        return torch.stack([torch.zeros_like(means), self.w * means], dim=1)


def test_a_training_moves_toward_its_teachers_and_leaves_them_alone():
    settings = config("teachers=[a, b]", "distillation=1", "mean=[0, 0, 0]", "std=[1, 1, 1]")
    white = (torch.full((2, 4, 4, 3), 255, dtype=torch.uint8), torch.tensor([0, 1]), [])
    reports, student, teachers = [], Shade(0.0), Teachers([Shade(1.0), Shade(3.0)])
    observer = SimpleNamespace(
        report=lambda step, means: reports.append(means), checkpoint=lambda step: None, after_step=lambda: False
    )
    train(settings, student, make_optimizer(settings, student), [white], ALONE, 0, observer, teachers)
    assert reports[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)  # the student says .5, the labels are one of each
    gradient = 0.5 - 1 / (1 + math.exp(-2.0))  # the teachers' mean logit is 2
    rate = settings.lr_scheduler.base_lr * (1 + settings.momentum)  # nesterov's first step
    assert student.w.item() == pytest.approx(-rate * gradient, abs=1e-6)
    assert [teacher.w.item() for teacher in teachers.networks] == [1.0, 3.0]


def test_teachers_are_checkpoints_of_any_known_network(tmp_path):
    torch.manual_seed(0)
    networks = {arch: build_model(arch).eval() for arch in ("efficientnet-lite0", "efficientnet-b0")}
    for arch, network in networks.items():
        state = {f"module.{name}": value for name, value in network.state_dict().items()}
        save_checkpoint(tmp_path / arch, {"step": 0, "arch": arch, "state_dict": state}, best=False)
    settings = config(f"teachers=[{', '.join(str(tmp_path / arch) for arch in networks)}]", "distillation=0.5")
    teachers = teachers_of(settings, PARTS, ALONE, compiled=False)
    assert not teachers.training
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = sum(network(images) for network in networks.values()) / 2
        torch.testing.assert_close(teachers(images), expected, atol=1e-5, rtol=1e-4)
    save_checkpoint(tmp_path / "other", {"step": 0, "arch": "vgg", "state_dict": {}}, best=False)
    with pytest.raises(BadInputError, match="unknown arch 'vgg'"):
        teachers_of(config(f"teachers=[{tmp_path / 'other'}]", "distillation=0.5"), PARTS, ALONE, compiled=False)
    assert teachers_of(config(), PARTS, ALONE, compiled=False) is None
