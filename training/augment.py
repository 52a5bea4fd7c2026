"""The augmentation that images and videos share (reference, section 5), on BGR uint8 images [H, W, 3].

Drawing random values is separate from applying them, so all frames of a clip can get the same draw. OpenCV does the
work: torchvision's transforms took two to four times as long per sample on a CPU core.
"""

from typing import NamedTuple

import cv2
import numpy as np

BRIGHTNESS, CONTRAST = 0.25, 0.1


class Look(NamedTuple):
    """One draw: whether to flip, (factor, summand) for the levels, a JPEG quality; None leaves a step out."""

    flip: bool
    levels: tuple[float, float] | None = None
    quality: int | None = None

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Flip, then change contrast and brightness, then compress: BGR uint8 [H, W, 3] to the same."""
        if self.flip:
            image = cv2.flip(image, 1)
        if self.levels is not None:
            factor, summand = self.levels
            image = cv2.addWeighted(image, factor, image, 0, summand)
        if self.quality is not None:
            compressed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1]
            image = cv2.imdecode(compressed, cv2.IMREAD_COLOR)  # type: ignore[assignment]  # it was just encoded, so it decodes
        return image


def compress(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Compress BGR uint8 [H, W, 3] as JPEG with a quality of 40 to 95."""
    return Look(flip=False, quality=int(random.integers(40, 96))).apply(image)


def randomness_of(seed: int, position: int, *purpose: int) -> np.random.Generator:
    """A sample's random numbers, which depend only on the config's seed and the position in the training order.

    So a resumed run, or one with another number of processes, sees the same samples as an uninterrupted one. Every
    `purpose` gets different numbers.
    """
    return np.random.default_rng([seed, position, *purpose])


def random_look(random: np.random.Generator, color_and_jpeg: bool = True) -> Look:
    """Flip with chance 0.5; brightness +-0.25 and contrast +-0.1 with chance 0.5; JPEG 50 to 100 with chance 0.2."""
    flip = random.random() < 0.5
    levels = contrast_brightness(random) if color_and_jpeg and random.random() < 0.5 else None
    quality = int(random.integers(50, 101)) if color_and_jpeg and random.random() < 0.2 else None
    return Look(flip, levels, quality)


def contrast_brightness(random: np.random.Generator) -> tuple[float, float]:
    """Draw the factor and the summand of: level -> (1 + contrast) * level + 255 * brightness, clipped to 0..255."""
    return 1 + random.uniform(-CONTRAST, CONTRAST), 255 * random.uniform(-BRIGHTNESS, BRIGHTNESS)
