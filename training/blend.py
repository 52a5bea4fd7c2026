"""Self-blended images: fakes made from one real face (Shiohara and Yamasaki, CVPR 2022), by our own code.

A face is blended with a changed copy of itself. This leaves the traces of every face swap: a seam, and inside it other
colours, another sharpness, another history of scaling and compression, and features a little out of place. It does not
show the work of any particular swapper, so a network cannot learn one by heart.

`self_blend` returns the fake and the real face of a pair. Outside the mask they are equal, bit for bit.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from training.augment import compress
from training.ranges import Ranges

# The mean face in an image of 112 x 112 pixels, as face recognition aligns it (Deng et al., ArcFace, 2019): eyes, nose,
# corners of the mouth. Then the outline of such a face, clockwise from the middle of the forehead.
MEAN_LANDMARKS = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]], np.float32)
HALF_WIDTHS = ((0, 0), (26, 4), (40, 18), (46, 38), (47, 56), (45, 76), (40, 94), (30, 109), (16, 120), (0, 123))
OUTLINE = np.array(
    [(56 + x, y) for x, y in HALF_WIDTHS] + [(56 - x, y) for x, y in reversed(HALF_WIDTHS[1:-1])], np.float32
)
BROWS, NOSE = 36.0, 70.0  # y in the mean face
MASK_SCALE = 2  # masks are drawn at half the face's size, as they are blurred anyway
FINEST = 12  # least side of a face in pixels


class Blend(NamedTuple):
    """A pair: BGR uint8 [H, W, 3] `fake` and `real`, equal where `mask` is 0; float32 [H, W] in [0, 1]."""

    fake: np.ndarray
    real: np.ndarray
    mask: np.ndarray


def self_blend(face: np.ndarray, landmarks: np.ndarray, ranges: Ranges, random: np.random.Generator) -> Blend:
    """A fake and a real face, made from one real face BGR uint8 [H, W, 3] with landmarks [5, 2] in its pixels (x, y).

    Either the copy inside the mask changes its colours and sharpness, or the face around it does; then the real face of
    the pair is changed in the same way. Raises ValueError if the face is too small, or its landmarks lie on one line.
    """
    height, width = face.shape[:2]
    if min(height, width) < FINEST:
        raise ValueError(f"a face of {width} x {height} pixels is too small to blend")
    mask = blend_mask(height, width, landmarks, ranges, random)
    changed = change(face, random)
    source, target = (changed, face) if random.random() < 0.5 else (face, changed)
    matrix = np.diag(1 + random.uniform(-ranges.scale, ranges.scale, 2)) @ np.eye(2, 3)
    middle = np.array([width, height]) / 2
    matrix[:, 2] = middle - matrix[:, :2] @ middle + random.uniform(-ranges.shift, ranges.shift, 2) * (width, height)
    source = cv2.warpAffine(source, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    if random.random() < ranges.poisson:
        source = poisson(source, target, mask)
    ratio = float(random.choice(ranges.ratios))
    return Blend(paste(source, target, mask * np.float32(ratio)), target, mask)


def paste(source: np.ndarray, target: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mean of source and target, BGR uint8 [H, W, 3], with the mask, float32 [H, W] in [0, 1], as source's weight.

    Where the mask is 0, it is the target, bit for bit.
    """
    pasted = cv2.blendLinear(source, target, mask, 1 - mask)
    # blendLinear divides by the sum of the weights, and may round where the mask is 0.
    return np.where(mask[:, :, None] > 0, pasted, target)


def poisson(source: np.ndarray, target: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The source with its gradients, but colours that meet the target's at the edge of the mask (Perez et al., 2003).

    `source` and `target` are BGR uint8 [H, W, 3], the mask is float32 [H, W]. Where the mask is too small, the source
    is returned unchanged.
    """
    inside = (mask > 0).astype(np.uint8) * 255
    inside[[0, -1]] = inside[:, [0, -1]] = 0  # OpenCV needs a border outside the mask
    x, y, width, height = cv2.boundingRect(inside)
    if min(width, height) < FINEST:
        return source
    return cv2.seamlessClone(source, target, inside, (x + width // 2, y + height // 2), cv2.NORMAL_CLONE)


def blend_mask(
    height: int, width: int, landmarks: np.ndarray, ranges: Ranges, random: np.random.Generator
) -> np.ndarray:
    """A soft mask of a random part of the face, deformed: float32 [height, width] in [0, 1], with 1 as its maximum.

    The mean face is fitted to the landmarks [5, 2] by an affine map with least squares. Raises ValueError if they lie
    on one line.
    """
    fitted = fit_mean_face(landmarks)
    names, chances = zip(*PARTS, strict=True)
    part = densified(names[int(random.choice(len(names), p=chances))](random))
    outline = moved(part, fitted)
    side = min(height, width)
    outline += wobble(outline, height, width, side * random.uniform(*ranges.elastic), random)
    small = filled(outline, height, width)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * int(random.integers(1, 4)) + 1,) * 2)
    grown = random.random()
    if grown < 0.3:
        small = cv2.erode(small, kernel)
    elif grown < 0.5:
        small = cv2.dilate(small, kernel)
    sigma = max(side * random.uniform(*ranges.blur) / MASK_SCALE, 0.5)
    soft = cv2.GaussianBlur(small, (0, 0), sigma)
    if random.random() < 0.5:  # a second blur, inside the edge of the first, moves the seam inwards
        soft = cv2.GaussianBlur(np.where(soft > 127, soft, np.uint8(0)), (0, 0), sigma)
    return enlarged(soft, height, width)


def fit_mean_face(landmarks: np.ndarray) -> np.ndarray:
    """The affine map [3, 2] with least squares from (x, y, 1) in the mean face to pixels with landmarks [5, 2].

    Raises ValueError if the landmarks lie on one line.
    """
    known = np.column_stack([MEAN_LANDMARKS, np.ones(5)])
    fitted, _, rank, _ = np.linalg.lstsq(known, landmarks.astype(float), rcond=None)
    if rank < 3 or abs(np.linalg.det(fitted[:2])) < 1e-6:
        raise ValueError("the landmarks lie on one line")
    return fitted


def moved(outline: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """An outline [N, 2] in the mean face's pixels, moved by a map of `fit_mean_face`."""
    return np.column_stack([outline, np.ones(len(outline))]) @ fitted


def filled(outline: np.ndarray, height: int, width: int) -> np.ndarray:
    """What an outline [N, 2] in the face's pixels encloses: uint8 [ceil(H / 2), ceil(W / 2)], 255 inside, 0 outside."""
    small: np.ndarray = np.zeros((-(-height // MASK_SCALE), -(-width // MASK_SCALE)), np.uint8)
    cv2.fillPoly(small, [np.round(outline * 16 / MASK_SCALE).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return small


def enlarged(small: np.ndarray, height: int, width: int) -> np.ndarray:
    """A mask of half the size, uint8 [h, w], as float32 [height, width] in [0, 1], with 1 as its maximum."""
    mask = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    return mask / max(float(mask.max()), 1.0)


def whole_face(random: np.random.Generator) -> np.ndarray:
    """The outline [N, 2] of the face, wider or narrower, in the mean face's pixels."""
    return scaled(OUTLINE, random.uniform(0.85, 1.1, 2))


def without_forehead(random: np.random.Generator) -> np.ndarray:
    """The outline [N, 2] of the face from the brows down, in the mean face's pixels."""
    return scaled(below(OUTLINE, BROWS + random.uniform(-8, 8)), random.uniform(0.85, 1.1, 2))


def lower_face(random: np.random.Generator) -> np.ndarray:
    """The outline [N, 2] of the face from the nose down, in the mean face's pixels."""
    return scaled(below(OUTLINE, NOSE + random.uniform(-6, 6)), random.uniform(0.8, 1.1, 2))


def mouth_and_nose(random: np.random.Generator) -> np.ndarray:
    """An ellipse [N, 2] over nose and mouth, in the mean face's pixels."""
    return ellipse((56, 83), np.array([25, 26]) * random.uniform(0.75, 1.25, 2))


def eyes(random: np.random.Generator) -> np.ndarray:
    """An ellipse [N, 2] over both eyes, in the mean face's pixels."""
    return ellipse((56, 50), np.array([42, 16]) * random.uniform(0.8, 1.3, 2))


def mouth(random: np.random.Generator) -> np.ndarray:
    """An ellipse [N, 2] over the mouth, in the mean face's pixels."""
    return ellipse((56, 95), np.array([24, 13]) * random.uniform(0.8, 1.3, 2))


# The parts of a face that are blended, and their chances
PARTS: tuple[tuple[Callable[[np.random.Generator], np.ndarray], float], ...] = (
    (whole_face, 0.35),
    (without_forehead, 0.25),
    (mouth_and_nose, 0.12),
    (lower_face, 0.12),
    (eyes, 0.08),
    (mouth, 0.08),
)


def ellipse(centre: tuple[float, float], axes: np.ndarray) -> np.ndarray:
    """The points of an ellipse with these axes [2], float [40, 2]."""
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.array(centre) + np.column_stack([np.cos(angles), np.sin(angles)]) * axes


def scaled(outline: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """The outline [N, 2], stretched by factors [2] around the middle of its bounding box."""
    middle = (outline.min(axis=0) + outline.max(axis=0)) / 2
    return middle + (outline - middle) * factors


def below(outline: np.ndarray, height: float) -> np.ndarray:
    """The outline [N, 2] with every point above a height pressed down to it."""
    return np.column_stack([outline[:, 0], np.maximum(outline[:, 1], height)])


def densified(outline: np.ndarray, steps: int = 4) -> np.ndarray:
    """The outline [N, 2] with each side divided into `steps`, [N * steps, 2], so that it can bend."""
    parts = np.arange(steps)[:, None, None] / steps
    return (outline * (1 - parts) + np.roll(outline, -1, axis=0) * parts).transpose(1, 0, 2).reshape(-1, 2)


def wobble(points: np.ndarray, height: int, width: int, size: float, random: np.random.Generator) -> np.ndarray:
    """Displacements [N, 2] of points [N, 2] by a smooth random field with a standard deviation of `size` pixels."""
    field = random.normal(0, size, (5, 5, 2)).astype(np.float32)
    x, y = (points / (width, height) * 4).astype(np.float32).T[:, None]
    return cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]


def change(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """BGR uint8 [H, W, 3] with other colours and, mostly, another sharpness, scale or compression."""
    image = recolour(image, random)
    steps: Sequence[tuple[Callable[[np.ndarray, np.random.Generator], np.ndarray], float]] = CHANGES
    for step, chance in steps:
        if random.random() < chance:
            image = step(image, random)
    return image


def recolour(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """BGR uint8 [H, W, 3] in other colours: half of the time another hue, saturation and value, then other levels."""
    if random.random() < 0.5:
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        levels = np.arange(256, dtype=np.float32)
        hue = (levels + random.uniform(-8, 8)) % 180
        saturation, value = (levels * random.uniform(low, 2 - low) for low in (0.7, 0.8))
        table = np.clip(np.stack([hue, saturation, value], axis=-1), 0, 255).astype(np.uint8)
        image = cv2.cvtColor(cv2.LUT(hsv, table[None]), cv2.COLOR_HSV2BGR)
    levels = np.arange(256, dtype=np.float32)[:, None] * random.uniform(0.88, 1.12)
    table = np.clip(levels + random.uniform(-14, 14) + random.uniform(-10, 10, 3), 0, 255).astype(np.uint8)
    return cv2.LUT(image, table[None])


def rescale(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """BGR uint8 [H, W, 3], shrunk to between 1/1.3 and 1/4, by nearest pixels or areas, then enlarged again."""
    height, width = image.shape[:2]
    factor = 1 / random.uniform(1.3, 4)
    down, up = random.choice([cv2.INTER_NEAREST, cv2.INTER_AREA]), random.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC])
    small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=int(down))
    return cv2.resize(small, (width, height), interpolation=int(up))


def soften(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """BGR uint8 [H, W, 3], blurred by a Gaussian with a sigma of 0.5 to 1.6 pixels."""
    return cv2.GaussianBlur(image, (0, 0), random.uniform(0.5, 1.6))


def sharpen(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """BGR uint8 [H, W, 3] plus 0.3 to 1 times its difference from a blurred copy."""
    amount = random.uniform(0.3, 1)
    return cv2.addWeighted(image, 1 + amount, cv2.GaussianBlur(image, (0, 0), 2), -amount, 0)


CHANGES = ((rescale, 0.3), (soften, 0.2), (sharpen, 0.25), (compress, 0.2))
