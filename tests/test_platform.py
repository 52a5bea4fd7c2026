"""Degradation as a platform's, the same for both of a pair and for both classes."""

import cv2
import numpy as np
import torch

import tests.test_blend as blending
from image_based.config import ImageConfig
from image_based.dataset import TrainingCrops
from image_based.transforms import augment
from training.config import load_config
from training.platform import as_uploaded

faces = blending.faces  # a fixture


def test_what_is_uploaded_stays_the_face_that_it_was_and_loses_detail(faces):
    losses, details = [], []
    for number in range(24):
        face = faces[1][number % len(faces[1])][0]
        uploaded = as_uploaded(face, np.random.default_rng(number))
        assert (uploaded.shape, uploaded.dtype) == (face.shape, np.uint8)
        losses.append(np.abs(uploaded.astype(int) - face).mean())
        details.append(cv2.Laplacian(uploaded, cv2.CV_64F).var() / cv2.Laplacian(face, cv2.CV_64F).var())
    assert 0.5 < min(losses) < max(losses) < 15
    assert np.median(details) < 0.7
    odd = faces[1][0][0][:101, :75]
    assert as_uploaded(np.ascontiguousarray(odd), np.random.default_rng(0)).shape == odd.shape


def test_both_of_a_pair_are_degraded_alike(faces):
    """With nothing blended in, they stay equal; and only a share of the samples is degraded."""
    nothing = {"blend.share": 0.5, "blend.ratios": "[0.0]"}
    plain, data = (TrainingCrops(blending.config(faces[0], **nothing, platform=share)) for share in (0.0, 0.5))
    first = len(data.crops)
    degraded = []
    for position in range(40):
        (fake, *_), (real, *_) = data[position, first], data[position, first + 1]
        assert torch.equal(fake, real)
        degraded.append(not torch.equal(fake, plain[position, first][0]))
    assert 0.25 < np.mean(degraded) < 0.75


def test_platforms_come_last_and_change_no_other_draw(faces):
    face = faces[1][0][0]
    words = ["input_size=224", *blending.words(faces[0])[:2]]
    plain, always = (load_config(blending.CONFIG, ImageConfig, [*words, f"platform={share}"]) for share in (0.0, 1.0))
    for number in range(6):
        before = augment(face, plain, np.random.default_rng(number)).astype(int)
        after = augment(face, always, np.random.default_rng(number)).astype(int)
        assert (
            0
            < np.abs(
                cv2.blur(before.astype(np.uint8), (9, 9)).astype(int) - cv2.blur(after.astype(np.uint8), (9, 9))
            ).mean()
            < 6
        )
