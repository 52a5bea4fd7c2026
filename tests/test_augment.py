"""Augmentation: how often and how far it changes a crop, and what each change does."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from image_based.config import ImageConfig
from image_based.transforms import STRONG, augment, line, motion, random_square
from training.augment import Look, random_look
from training.config import load_config
from training.mixup import mix_pairs

CONFIG = "image_based/configs/lite0/config_faces160.yaml"


def test_crops_are_squares_anywhere_with_the_area_of_the_reference():
    random = np.random.default_rng(0)
    squares = np.array([random_square(100, 100, 0.88, random) for _ in range(2000)])
    x, y, side = squares.T
    assert (side.min(), side.max()) == (88, 100)
    assert np.mean(side**2) == pytest.approx((0.88**2 + 1) / 2 * 100**2, rel=0.01)  # the area is drawn evenly
    assert (x + side).max() == (y + side).max() == 100
    assert x.min() == y.min() == 0
    assert {random_square(50, 80, 1.0, random)[2] for _ in range(9)} == {50}


def test_looks_are_drawn_as_often_as_in_the_reference():
    random = np.random.default_rng(0)
    looks = [random_look(random) for _ in range(4000)]
    assert np.mean([look.flip for look in looks]) == pytest.approx(0.5, abs=0.03)
    levels = np.array([look.levels for look in looks if look.levels])
    assert len(levels) / 4000 == pytest.approx(0.5, abs=0.03)
    np.testing.assert_allclose([levels.min(axis=0), levels.max(axis=0)], [[0.9, -63.75], [1.1, 63.75]], atol=0.4)
    qualities = [look.quality for look in looks if look.quality]
    assert len(qualities) / 4000 == pytest.approx(0.2, abs=0.03)
    assert (min(qualities), max(qualities)) == (50, 100)
    plain = [random_look(random, color_and_jpeg=False) for _ in range(99)]
    assert {(look.levels, look.quality) for look in plain} == {(None, None)}


def test_a_look_by_hand():
    image = np.array([[[0, 100, 200], [10, 20, 250]]], np.uint8)
    assert Look(True).apply(image).tolist() == [[[10, 20, 250], [0, 100, 200]]]
    assert Look(False, (1.1, -20.0)).apply(image).tolist() == [[[0, 90, 200], [0, 2, 255]]]
    gradient = np.tile(np.arange(64, dtype=np.uint8)[:, None, None], (1, 64, 3))
    errors = [np.abs(Look(False, None, quality).apply(gradient).astype(int) - gradient).mean() for quality in (50, 100)]
    assert errors[0] > errors[1]


def test_motion_blur_kernels_are_lines_of_sum_1():
    np.testing.assert_allclose(line(5, 0, 24), np.eye(5) / 5)
    random = np.random.default_rng(0)
    kernels = [motion(random) for _ in range(60)]
    assert {len(kernel) for kernel in kernels} == {3, 5, 7}
    assert [kernel.sum() for kernel in kernels] == pytest.approx([1] * 60)


def test_a_mixed_pair_is_as_fake_as_its_pixels():
    torch.manual_seed(0)
    pairs = torch.tensor([200, 100] * 500, dtype=torch.uint8).view(1000, 1, 1, 1).repeat(1, 2, 2, 3)
    images, classes = mix_pairs(pairs, torch.tensor([1, 0] * 500), chance=0.6)
    shares = classes[:, 1]
    assert torch.equal(images[:, 0, 0, 0], (100 + 100 * shares).round().to(torch.uint8))
    assert torch.equal(classes.sum(dim=1), torch.ones(1000))
    torch.testing.assert_close(shares[::2], 1 - shares[1::2])
    assert (0.5 <= shares[::2].min() < 0.55, shares.max()) == (True, 1)
    assert (shares[::2] < 1).float().mean().item() == pytest.approx(0.6, abs=0.06)
    clips, _ = mix_pairs(torch.zeros(4, 3, 2, 2, 3, dtype=torch.uint8), torch.tensor([1, 0, 1, 0]), chance=1)
    assert clips.shape == (4, 3, 2, 2, 3)


def test_the_config_is_one():
    config = load_config(Path(CONFIG), ImageConfig)
    assert (config.arch, config.augmentation, config.lr_scheduler.cosine) == ("efficientnet-lite0", "strong", True)


@pytest.mark.parametrize(("chance", "change"), STRONG, ids=[change.__name__ for _, change in STRONG])
def test_each_stronger_change_changes_a_face_and_leaves_it_one(frames, chance, change):
    face, random = np.ascontiguousarray(frames[0][60:284, 200:424]), np.random.default_rng(0)
    for _ in range(20):
        changed = change(face, random)
        assert changed.shape == face.shape
        assert changed.dtype == np.uint8
        difference = np.abs(changed.astype(float) - face).mean()
        assert 0.05 < difference < 45
    assert 0 < chance < 1


def test_the_stronger_augmentation_is_a_function_of_the_sample(frames):
    face = frames[0][60:284, 200:424]
    strong = load_config(Path(CONFIG), ImageConfig)
    plain = load_config(Path(CONFIG), ImageConfig, ["augmentation=contract"])
    images = [augment(face, strong, np.random.default_rng([0, number])) for number in range(30)]
    again = [augment(face, strong, np.random.default_rng([0, number])) for number in range(30)]
    others = [augment(face, plain, np.random.default_rng([0, number])) for number in range(30)]
    assert all(np.array_equal(one, two) for one, two in zip(images, again, strict=True))
    same = sum(np.array_equal(one, two) for one, two in zip(images, others, strict=True))
    assert same < 10  # all seven pass over a sample with a probability of .13
    assert all(image.shape == (160, 160, 3) for image in images)


def test_the_sharp_augmentation_spares_fine_detail(frames):
    face = frames[0][60:284, 200:424]

    def detail(augmentation):
        config = load_config(
            Path(CONFIG), ImageConfig, ["input_size=224", "min_scale=1.0", f"augmentation={augmentation}"]
        )
        images = [augment(face, config, np.random.default_rng([0, number])) for number in range(60)]
        return np.percentile([cv2.Laplacian(image, cv2.CV_64F).var() for image in images], 25)

    assert detail("sharp") > 1.25 * detail("contract") > 1.25 * detail("strong")
