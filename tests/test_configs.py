"""The eleven configs: each whole, with the contract's values, and the one its ensemble member names."""

import pytest
import yaml

from image_based.config import ImageConfig
from inference.members import MEMBERS
from tests.conftest import ROOT
from training.config import load_config

HALVED = [0.5] * 4
# Contract, section 5: arch, batch, base and warm-up rate, milestones, steps, steps between validations, input, save path.
IMAGE = {
    "b0/config": ("efficientnet-b0", 16, 0.01, 0.03, [15, 25, 35, 45], 60002, 2000, 299, "b0_aug_rgb_299"),
    "b1/config": ("efficientnet-b1", 16, 0.01, 0.03, [15, 25, 35, 45], 60002, 2000, 299, "b1_aug_rgb_299"),
    "b1/config_alldata": ("efficientnet-b1", 16, 0.01, 0.03, [15, 25, 35, 45], 60002, 2000, 299, "b1_aug_rgb_299_alldata"),
    "b1/config_long_alldata": (
        "efficientnet-b1", 16, 0.01, 0.03, [20, 30, 40, 55], 90002, 2000, 299, "b1_aug_rgb_299_long_alldata",
    ),
    "b3/config": ("efficientnet-b3", 16, 0.01, 0.04, [15, 25, 35, 45], 60002, 2000, 299, "b3_aug_rgb_299"),
    "r34/config": ("resnet34", 32, 0.001, 0.02, [10, 15, 20, 25], 30001, 1000, 224, "r34_aug_rgb_224"),
    "xcep/config": ("xception", 16, 0.01, 0.05, [20, 30, 40, 50], 60002, 2000, 299, "xcep_aug_bgr_299"),
}  # fmt: skip


@pytest.mark.parametrize("name", IMAGE)
def test_image_config(name):
    config = load_config(ROOT / f"image_based/configs/{name}.yaml", ImageConfig)
    schedule = config.lr_scheduler
    thousands = [step // 1000 for step in schedule.lr_steps]
    assert (
        config.arch, config.batch_size, schedule.base_lr, schedule.warmup_lr, thousands, schedule.max_iter, config.val_freq,
        config.input_size, config.save_path,
    ) == IMAGE[name]  # fmt: skip
    assert (schedule.warmup_steps, schedule.lr_mults, config.reference_world_size, config.workers) == (1000, HALVED, 8, 1)
    assert (config.momentum, config.nesterov, config.weight_decay, config.positive_weight) == (0.9, True, 1e-4, 0.1)
    assert (config.print_freq, config.seed, config.num_classes) == (100, 0, 2)
    assert config.min_scale == (0.875 if name == "r34/config" else 0.88)
    held_out = "alldata" not in name
    assert config.train_list.endswith("val_30-39_train_alignedface_png.txt" if held_out else "trainval_alignedface_png.txt")
    assert list(config.val_lists) == (["val_30-39"] if held_out else ["publicval"])


def test_every_config_is_that_of_a_member_and_sees_what_the_member_will():
    configs = {member.trained_by: member for member in MEMBERS.values() if member.branch == "image"}
    assert configs.keys() == {f"image_based/configs/{name}.yaml" for name in IMAGE}
    for path, member in configs.items():
        config = load_config(ROOT / path, ImageConfig)
        assert (config.arch, config.color, (tuple(config.mean), tuple(config.std))) == (
            member.arch, member.color, member.normalisation,
        )  # fmt: skip


@pytest.mark.parametrize("name", IMAGE)
def test_configs_differ_from_the_first_in_what_the_contract_says_only(name):
    first, other = (yaml.safe_load((ROOT / f"image_based/configs/{file}.yaml").read_text()) for file in ("b0/config", name))
    assert list(first) == list(other)
    differing = {key for key in first if first[key] != other[key]}
    allowed = {"arch", "pretrained", "save_path", "lr_scheduler"}
    if "alldata" in name:
        allowed |= {"train_list", "val_lists"}
    if name == "r34/config":
        allowed |= {"input_size", "min_scale", "batch_size", "val_freq"}
    if name == "xcep/config":
        allowed |= {"color", "mean", "std"}
    assert differing <= allowed
