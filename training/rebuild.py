"""Fakes as a one-shot face swapper leaves them, made from one real face, by our own code.

Such a swapper works on a small aligned face: it shrinks the face, rebuilds it with a network, sometimes lets a face
restorer sharpen it, matches its colours, and pastes it back by a soft mask. All but the new identity is done here. A
small autoencoder (shipped/autoencoder.py) rebuilds faces beforehand, because that is too slow during a training.

In half of the pairs it is the other way round: the whole real face of the pair is rebuilt, and the fake has the
untouched face inside the mask. So as many real as fake faces are soft inside the mask, and as many outside: softness
alone tells nothing, only where it ends.
"""

import cv2
import numpy as np

from training.blend import (
    BROWS,
    FINEST,
    MASK_SCALE,
    OUTLINE,
    Blend,
    below,
    enlarged,
    filled,
    fit_mean_face,
    moved,
    paste,
    recolour,
    scaled,
    sharpen,
    soften,
)

SIDES = (96, 160)  # least and largest side of a shrunk face in pixels
BOX = np.array([(9, 0), (103, 0), (103, 123), (9, 123)], np.float32)  # around OUTLINE


def rebuilt_pair(
    face: np.ndarray, landmarks: np.ndarray, rebuilt: np.ndarray | None, random: np.random.Generator
) -> Blend:
    """A fake and a real face, made from one real face BGR uint8 [H, W, 3] with landmarks [5, 2] in its pixels (x, y).

    `rebuilt` is what an autoencoder made of `shrink(face, ...)`, BGR uint8 [side, side, 3]; without it the face is only
    resampled. Outside the mask both faces are equal, bit for bit. Raises ValueError if the face is too small, or its
    landmarks lie on one line.
    """
    height, width = face.shape[:2]
    if min(height, width) < FINEST:
        raise ValueError(f"a face of {width} x {height} pixels is too small to rebuild")
    mask = swap_mask(height, width, landmarks, random)
    side = int(random.integers(SIDES[0], SIDES[1] + 1))
    small = shrink(face, landmarks, side) if rebuilt is None else rebuilt
    made = match_colours(recolour(put_back(small, landmarks, height, width, random), random), face, random)
    finish = random.random()
    if finish < 0.4:
        made = restore(made, landmarks, random)
    elif finish < 0.7:
        made = (soften if finish < 0.55 else sharpen)(made, random)
    source, target = (made, face) if random.random() < 0.5 else (face, made)
    return Blend(paste(source, target, mask * np.float32(random.uniform(0.7, 1))), target, mask)


def swap_mask(height: int, width: int, landmarks: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A soft box around the face, or its soft outline with or without the forehead.

    It is float32 [height, width] in [0, 1], with 1 as its maximum. Raises ValueError if the landmarks lie on one line.
    """
    outline = BOX if random.random() < 0.4 else below(OUTLINE, BROWS if random.random() < 0.5 else 0)
    points = moved(scaled(outline, random.uniform(0.6, 0.95, 2)), fit_mean_face(landmarks))
    sigma = max(min(height, width) * random.uniform(0.01, 0.06) / MASK_SCALE, 0.5)
    return enlarged(cv2.GaussianBlur(filled(points, height, width), (0, 0), sigma), height, width)


def upright(landmarks: np.ndarray, height: int, width: int, side: int) -> np.ndarray:
    """The affine map [2, 3] from a crop to a square of `side` pixels in which the eyes are level.

    It turns and scales; the square holds the whole crop.
    """
    x, y = landmarks[1] - landmarks[0]
    cos, sin = np.array([x, y], float) / max(float(np.hypot(x, y)), 1e-6)
    reach = max(width * abs(cos) + height * abs(sin), height * abs(cos) + width * abs(sin))
    turn = np.array([[cos, sin], [-sin, cos]]) * (side / reach)
    middle = np.array([side - 1, side - 1]) / 2 - turn @ [(width - 1) / 2, (height - 1) / 2]
    return np.column_stack([turn, middle])


def shrink(face: np.ndarray, landmarks: np.ndarray, side: int) -> np.ndarray:
    """The upright face, BGR uint8 [side, side, 3], of a crop BGR uint8 [H, W, 3] with landmarks [5, 2]."""
    height, width = face.shape[:2]
    matrix = upright(landmarks, height, width, side)
    return cv2.warpAffine(face, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def put_back(
    small: np.ndarray, landmarks: np.ndarray, height: int, width: int, random: np.random.Generator
) -> np.ndarray:
    """A crop, BGR uint8 [height, width, 3], from its upright face, BGR uint8 [side, side, 3]: the way back."""
    matrix = upright(landmarks, height, width, len(small))
    flags = cv2.WARP_INVERSE_MAP | (cv2.INTER_LINEAR if random.random() < 0.5 else cv2.INTER_CUBIC)
    return cv2.warpAffine(small, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def restore(image: np.ndarray, landmarks: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """BGR uint8 [H, W, 3] as a face restorer leaves it: smooth, with sharp edges, most of all in eyes and mouth."""
    smooth = cv2.bilateralFilter(image, 5, random.uniform(15, 45), 3)
    blurred, amount = cv2.GaussianBlur(smooth, (0, 0), random.uniform(1, 2)), random.uniform(0.4, 1.2)
    skin = cv2.addWeighted(smooth, 1 + amount / 3, blurred, -amount / 3, 0)
    features = cv2.addWeighted(smooth, 1 + amount, blurred, -amount, 0)
    return paste(features, skin, features_mask(image.shape[0], image.shape[1], landmarks))


def features_mask(height: int, width: int, landmarks: np.ndarray) -> np.ndarray:
    """A soft mask, float32 [height, width] in [0, 1], of the eyes and the mouth."""
    small: np.ndarray = np.zeros((-(-height // MASK_SCALE), -(-width // MASK_SCALE)), np.uint8)
    between = float(np.hypot(*(landmarks[1] - landmarks[0]))) / MASK_SCALE
    mouth = landmarks[3:].mean(axis=0)
    for (x, y), radius in ((landmarks[0], 0.3), (landmarks[1], 0.3), (mouth, 0.45)):
        centre = round(float(x) / MASK_SCALE), round(float(y) / MASK_SCALE)
        cv2.circle(small, centre, max(round(radius * between), 1), 255, cv2.FILLED)
    return enlarged(cv2.GaussianBlur(small, (0, 0), max(between / 10, 0.5)), height, width)


def match_colours(image: np.ndarray, like: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """BGR uint8 [H, W, 3] whose channels' means and deviations are brought 0.6 to 1 of the way to another image's."""
    way = random.uniform(0.6, 1)
    (mean, deviation), (mean_like, deviation_like) = (
        tuple(values.T for values in cv2.meanStdDev(part)) for part in (image, like)
    )
    factor = 1 + way * (deviation_like / np.maximum(deviation, 1) - 1)
    levels = (np.arange(256)[:, None] - mean) * factor + mean + way * (mean_like - mean)
    return cv2.LUT(image, np.clip(np.round(levels), 0, 255).astype(np.uint8)[None])
