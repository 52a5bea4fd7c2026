"""Augmentation that images and videos have in common (contract, section 5), on BGR uint8 images [H, W, 3].

Drawing the random values is separate from applying them, so that all frames of a clip get the same draw. OpenCV does
the work: torchvision's transforms took two to four times as long per sample on a CPU core (and torchvision gives up its
JPEG).
"""

from typing import NamedTuple

import cv2
import numpy as np

BRIGHTNESS, CONTRAST = 0.25, 0.1


class Look(NamedTuple):
    """One draw: a flip, (factor, summand) of contrast and brightness, a JPEG quality; None leaves the step out."""

    flip: bool
    levels: tuple[float, float] | None = None
    quality: int | None = None

    def apply(self, image: np.ndarray) -> np.ndarray:
        """Flip, then change contrast and brightness, then compress: BGR uint8 [H, W, 3] -> the same shape."""
        if self.flip:
            image = cv2.flip(image, 1)
        if self.levels is not None:
            factor, summand = self.levels
            image = cv2.addWeighted(image, factor, image, 0, summand)
        if self.quality is not None:
            compressed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1]
            image = cv2.imdecode(compressed, cv2.IMREAD_COLOR)  # type: ignore[assignment]  # just encoded, it decodes
        return image


def compress(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Compress BGR uint8 [H, W, 3] as JPEG of quality 40 to 95."""
    return Look(flip=False, quality=int(random.integers(40, 96))).apply(image)


def randomness_of(seed: int, position: int, *purpose: int) -> np.random.Generator:
    """A sample's random numbers, which depend only on the config's seed and its position in the training order.

    So a resumed run, or one with another number of processes, sees the same samples as an uninterrupted one. Each
    `purpose` has numbers of its own.
    """
    return np.random.default_rng([seed, position, *purpose])


def random_look(random: np.random.Generator, color_and_jpeg: bool = True) -> Look:
    """Flip .5; brightness +-.25 of the white level and contrast +-.1, p .5; JPEG of quality 50 to 100, p .2."""
    flip = random.random() < 0.5
    levels = contrast_brightness(random) if color_and_jpeg and random.random() < 0.5 else None
    quality = int(random.integers(50, 101)) if color_and_jpeg and random.random() < 0.2 else None
    return Look(flip, levels, quality)


def contrast_brightness(random: np.random.Generator) -> tuple[float, float]:
    """Draw factor and summand: level -> (1 + contrast) * level + brightness * 255, clipped to 0..255."""
    return 1 + random.uniform(-CONTRAST, CONTRAST), 255 * random.uniform(-BRIGHTNESS, BRIGHTNESS)
