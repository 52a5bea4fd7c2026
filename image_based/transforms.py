"""Image augmentation (reference, section 5): square crop, flip, brightness and contrast, JPEG, motion blur, in order.

`augmentation: strong` adds steps that the reference does not have: turn and stretch, colour, lower resolution, blur,
noise, JPEG, a rectangle cut out, in order. `sharp` leaves out motion blur, lower resolution, blur and noise. `varied`
is milder, for traces finer than DFDC's: after the flip come a weaker change of light and the steps of `strong`, some of
them less often, without motion blur. `platform` adds another size, H.264 and JPEG at the end.
"""

from collections.abc import Callable

import cv2
import numpy as np

from image_based.config import ImageConfig
from training.augment import Look, compress, random_look
from training.platform import as_uploaded


def augment(crop: np.ndarray, config: ImageConfig, random: np.random.Generator) -> np.ndarray:
    """An augmented crop: BGR uint8 [h, w, 3] of any size -> RGB uint8 [input_size, input_size, 3]."""
    height, width = crop.shape[:2]
    x, y, side = random_square(height, width, config.min_scale, random)
    size = (config.input_size, config.input_size)
    look = random_look(random, color_and_jpeg=config.augmentation != "varied")
    image = look.apply(cv2.resize(crop[y : y + side, x : x + side], size, interpolation=cv2.INTER_LINEAR))
    for chance, change in AFTER_LOOK[config.augmentation]:
        if random.random() < chance:
            image = change(image, random)
    if config.platform and random.random() < config.platform:
        image = as_uploaded(image, random)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def random_square(height: int, width: int, min_scale: float, random: np.random.Generator) -> tuple[int, int, int]:
    """x, y and side of a random square in an image; its area is min_scale**2 to 1 of the image's, as far as it fits."""
    side = min(round(np.sqrt(height * width * random.uniform(min_scale**2, 1))), height, width)
    return int(random.integers(width - side + 1)), int(random.integers(height - side + 1)), side


def motion_blur(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """BGR uint8 [H, W, 3], blurred along a random line."""
    return cv2.filter2D(image, -1, motion(random))


def motion(random: np.random.Generator) -> np.ndarray:
    """The kernel of a motion blur along a random line, float32 [side, side] with side 3, 5 or 7."""
    side = 3 + 2 * int(random.integers(3))
    return line(side, *random.choice(side * side, 2, replace=False).tolist())


def line(side: int, start: int, end: int) -> np.ndarray:
    """A kernel float32 [side, side] of sum 1: a line between two cells, which are numbered row by row."""
    kernel = np.zeros((side, side), np.uint8)
    cv2.line(kernel, (start % side, start // side), (end % side, end // side), color=1)
    return kernel.astype(np.float32) / kernel.sum()


Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def turn(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """BGR uint8 [H, W, 3], turned by up to 12 degrees and stretched by up to 8% each way; the border is mirrored."""
    height, width = image.shape[:2]
    matrix: np.ndarray = cv2.getRotationMatrix2D((width / 2, height / 2), random.uniform(-12, 12), 1.0)
    matrix[:, :2] *= random.uniform(0.92, 1.08, 2)
    matrix[:, 2] += np.array([width, height]) / 2 - matrix @ [width / 2, height / 2, 1]
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def tint(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """BGR uint8 [H, W, 3] with 0.6 to 1.4 times the saturation, then each channel shifted by up to +-15 levels."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    saturation = random.uniform(0.6, 1.4)
    image = cv2.addWeighted(image, saturation, grey, 1 - saturation, 0)
    shift = (*random.uniform(-15, 15, 3), 0)
    return cv2.add(image, shift)  # type: ignore[call-overload]  # OpenCV takes four numbers for a colour


def relight(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """BGR uint8 [H, W, 3] with all levels multiplied by 0.85 to 1.15, then shifted by up to +-25."""
    return Look(flip=False, levels=(random.uniform(0.85, 1.15), random.uniform(-25, 25))).apply(image)


def lower_resolution(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """BGR uint8 [H, W, 3], shrunk to 0.5 to 0.95 of the size, then enlarged again."""
    height, width = image.shape[:2]
    scale = random.uniform(0.5, 0.95)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    up = cv2.INTER_LINEAR if random.random() < 0.5 else cv2.INTER_CUBIC
    return cv2.resize(small, (width, height), interpolation=up)


def blur(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """BGR uint8 [H, W, 3], blurred by a Gaussian with a sigma of 0.4 to 1.5 pixels."""
    return cv2.GaussianBlur(image, (0, 0), random.uniform(0.4, 1.5))


def noise(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """BGR uint8 [H, W, 3] with Gaussian noise of 2 to 8 levels; half of the time it is the same in all colours."""
    channels = 1 if random.random() < 0.5 else 3
    values = random.standard_normal((*image.shape[:2], channels), np.float32) * random.uniform(2, 8)
    return np.clip(image + values, 0, 255).astype(np.uint8)


def cut_out(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """BGR uint8 [H, W, 3] with a grey rectangle, whose sides are 0.1 to 0.45 of the image's."""
    sides = (random.uniform(0.1, 0.45, 2) * image.shape[:2]).astype(int)
    y, x = (int(random.integers(length - side + 1)) for length, side in zip(image.shape[:2], sides, strict=True))
    image = image.copy()
    image[y : y + sides[0], x : x + sides[1]] = 127
    return image


# Chances and changes, in order
STRONG: tuple[tuple[float, Change], ...] = (
    (0.4, turn),
    (0.3, tint),
    (0.2, lower_resolution),
    (0.1, blur),
    (0.1, noise),
    (0.3, compress),
    (0.3, cut_out),
)
SHARP = tuple((chance, change) for chance, change in STRONG if change not in (lower_resolution, blur, noise))
VARIED: tuple[tuple[float, Change], ...] = (
    (0.4, relight),
    (0.3, turn),
    (0.3, tint),
    (0.2, lower_resolution),
    (0.1, blur),
    (0.1, noise),
    (0.45, compress),
    (0.15, cut_out),
)
REFERENCE: tuple[tuple[float, Change], ...] = ((0.5, motion_blur),)
AFTER_LOOK = {"contract": REFERENCE, "strong": REFERENCE + STRONG, "sharp": SHARP, "varied": VARIED}
