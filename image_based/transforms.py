"""Image augmentation of the contract (section 5), in order: square crop, flip, brightness and contrast, JPEG, motion blur."""

import cv2
import numpy as np

from image_based.config import ImageConfig
from training.augment import random_look


def augment(crop: np.ndarray, config: ImageConfig, random: np.random.Generator) -> np.ndarray:
    """BGR uint8 [h, w, 3] of any size -> RGB uint8 [input_size, input_size, 3]."""
    x, y, side = random_square(*crop.shape[:2], config.min_scale, random)
    size = (config.input_size, config.input_size)
    image = random_look(random).apply(cv2.resize(crop[y : y + side, x : x + side], size, interpolation=cv2.INTER_LINEAR))
    if random.random() < 0.5:
        image = cv2.filter2D(image, -1, motion(random))
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def random_square(height: int, width: int, min_scale: float, random: np.random.Generator) -> tuple[int, int, int]:
    """x, y, side of a square anywhere in the image whose area is min_scale**2 to 1 of the image's."""
    side = min(round(np.sqrt(height * width * random.uniform(min_scale**2, 1))), height, width)
    return int(random.integers(width - side + 1)), int(random.integers(height - side + 1)), side


def motion(random: np.random.Generator) -> np.ndarray:
    """The kernel of a motion blur along a random line: side 3, 5 or 7."""
    side = 3 + 2 * int(random.integers(3))
    return line(side, *random.choice(side * side, 2, replace=False).tolist())


def line(side: int, start: int, end: int) -> np.ndarray:
    """A kernel [side, side] of sum 1 with a line between two of its cells, given by their numbers."""
    kernel = np.zeros((side, side), np.uint8)
    cv2.line(kernel, (start % side, start // side), (end % side, end // side), color=1)
    return kernel.astype(np.float32) / kernel.sum()
