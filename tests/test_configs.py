"""The eleven configs: each is complete, has the reference's values, and fits the ensemble member that names it."""

import pytest
import yaml

from image_based.config import ImageConfig
from inference.members import MEMBERS, SHIPPED
from tests.conftest import ROOT
from training.config import load_config
from video_based.config import VideoConfig

HALVED = [0.5] * 4
# Reference, section 5: arch, batch, base and warm-up rate, milestones, steps, steps between validations, input, save
# path.
IMAGE = {
    "b0/config": ("efficientnet-b0", 16, 0.01, 0.03, [15, 25, 35, 45], 60002, 2000, 299, "b0_aug_rgb_299"),
    "b1/config": ("efficientnet-b1", 16, 0.01, 0.03, [15, 25, 35, 45], 60002, 2000, 299, "b1_aug_rgb_299"),
    "b1/config_alldata": (
        "efficientnet-b1", 16, 0.01, 0.03, [15, 25, 35, 45], 60002, 2000, 299, "b1_aug_rgb_299_alldata",
    ),
    "b1/config_long_alldata": (
        "efficientnet-b1", 16, 0.01, 0.03, [20, 30, 40, 55], 90002, 2000, 299, "b1_aug_rgb_299_long_alldata",
    ),
    "b3/config": ("efficientnet-b3", 16, 0.01, 0.04, [15, 25, 35, 45], 60002, 2000, 299, "b3_aug_rgb_299"),
    "r34/config": ("resnet34", 32, 0.001, 0.02, [10, 15, 20, 25], 30001, 1000, 224, "r34_aug_rgb_224"),
    "xcep/config": ("xception", 16, 0.01, 0.05, [20, 30, 40, 50], 60002, 2000, 299, "xcep_aug_bgr_299"),
}  # fmt: skip

# Reference, section 5: step, colour and JPEG augmentation, milestones, steps, save path.
VIDEO = {
    "config": (4, True, [15, 25, 35, 45], 55001, "sf50_aug_224_32x4"),
    "config_noaug": (4, False, [15, 25, 35, 45], 55001, "sf50_224_32x4"),
    "config_16x8": (8, True, [15, 25, 35, 45], 55001, "sf50_aug_224_16x8"),
    "config_alldata": (4, False, [20, 30, 40, 50], 60000, "sf50_aug_224_32x4_alldata"),
}


@pytest.mark.parametrize("name", IMAGE)
def test_image_config(name):
    config = load_config(ROOT / f"image_based/configs/{name}.yaml", ImageConfig)
    schedule = config.lr_scheduler
    thousands = [step // 1000 for step in schedule.lr_steps]
    assert (
        config.arch, config.batch_size, schedule.base_lr, schedule.warmup_lr, thousands, schedule.max_iter,
        config.val_freq, config.input_size, config.save_path,
    ) == IMAGE[name]  # fmt: skip
    assert (schedule.warmup_steps, schedule.lr_mults, config.reference_world_size, config.workers) == (
        1000,
        HALVED,
        8,
        1,
    )
    assert (config.momentum, config.nesterov, config.weight_decay, config.positive_weight) == (0.9, True, 1e-4, 0.1)
    assert (config.print_freq, config.seed) == (100, 0)
    assert config.min_scale == (0.875 if name == "r34/config" else 0.88)
    held_out = "alldata" not in name
    assert config.train_list.endswith(
        "val_30-39_train_alignedface_png.txt" if held_out else "trainval_alignedface_png.txt"
    )
    assert list(config.val_lists) == (["val_30-39"] if held_out else ["publicval"])


@pytest.mark.parametrize("name", VIDEO)
def test_video_config(name):
    config = load_config(ROOT / f"video_based/configs/{name}.yaml", VideoConfig)
    schedule = config.lr_scheduler
    thousands = [step // 1000 for step in schedule.lr_steps]
    assert (config.sample_step, config.color_and_jpeg, thousands, schedule.max_iter, config.save_path) == VIDEO[name]
    assert (schedule.base_lr, schedule.warmup_lr, schedule.warmup_steps, schedule.lr_mults) == (
        0.002,
        0.05,
        1000,
        HALVED,
    )
    assert (config.arch, config.batch_size, config.reference_world_size, config.workers) == ("slowfast50", 4, 16, 4)
    assert (config.sample_duration, config.min_short_side, config.max_short_side) == (128, 224, 340)
    assert (config.input_size, config.val_size, config.val_freq, config.print_freq, config.seed) == (
        224,
        256,
        1000,
        100,
        0,
    )
    assert (config.momentum, config.nesterov, config.weight_decay, config.positive_weight) == (0.9, True, 1e-4, 0.1)
    lists = ("trainval", "publicval") if name == "config_alldata" else ("all_videos_train", "all_videos")
    assert config.train_list.endswith(f"/{lists[0]}_alignedface_jpg.txt")
    assert list(config.val_lists) == [lists[1]]


def assert_same_input(config, member):
    assert (config.arch, config.color) == (member.arch, member.color)
    assert (config.mean, config.std) == tuple(pytest.approx(values) for values in member.normalisation)


def test_every_config_belongs_to_a_member_and_has_the_same_input():
    folders = {
        "image": ("image_based/configs", IMAGE, ImageConfig),
        "video": ("video_based/configs", VIDEO, VideoConfig),
    }
    assert {member.trained_by for member in MEMBERS.values()} == {
        f"{folder}/{name}.yaml" for folder, names, _ in folders.values() for name in names
    }
    for member in MEMBERS.values():
        config = load_config(ROOT / member.trained_by, folders[member.branch][2])
        assert_same_input(config, member)
        if member.branch == "video":
            assert config.val_size == member.size


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("image_based/configs/lite*/*.yaml")), ids=lambda path: "/".join(path.parts[-2:])
)
def test_configs_on_precropped_faces_have_the_input_of_the_shipped_member(path):
    member = next(member for member in SHIPPED.values() if member.arch == f"efficientnet-{path.parent.name}")
    config = load_config(path, ImageConfig)
    assert_same_input(config, member)
    assert (ROOT / member.trained_by).parent == path.parent
    assert config.save_path == f"{path.parent.name}_{path.stem.removeprefix('config_')}"
    assert (ROOT / member.trained_by).is_file()


@pytest.mark.parametrize("name", IMAGE)
def test_configs_differ_from_the_first_only_where_the_reference_does(name):
    first, other = (
        yaml.safe_load((ROOT / f"image_based/configs/{file}.yaml").read_text()) for file in ("b0/config", name)
    )
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


@pytest.mark.parametrize("name", VIDEO)
def test_video_configs_differ_from_the_first_only_where_the_reference_does(name):
    first, other = (
        yaml.safe_load((ROOT / f"video_based/configs/{file}.yaml").read_text()) for file in ("config", name)
    )
    assert list(first) == list(other)
    allowed = {
        "config": set(),
        "config_noaug": {"save_path", "color_and_jpeg"},
        "config_16x8": {"save_path", "sample_step"},
        "config_alldata": {"save_path", "color_and_jpeg", "train_list", "val_lists", "lr_scheduler"},
    }
    assert {key for key in first if first[key] != other[key]} == allowed[name]
