"""The original laid over the suspect, and how they then differ, pixel by pixel.

The original's levels are fitted to the suspect's, and both are smoothed, so that the noise of compression does not
count. What compression leaves depends on how detailed a picture is. So one part of the picture tells, for each step of
detail, how much another part would differ if nothing but compression had touched it.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from forensics.compare.in_picture import Placement

LONG_SIDE = 960  # of the pictures that are compared, in pixels, at most
SMOOTH = 1.5  # pixels: standard deviation of the smoothing
DETAIL = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # levels per pixel, between the steps of detail
CLEAR = 10.0  # levels: a difference that can be seen
OUTLIES = 4.0  # times the median of differences: larger ones are clipped
LEAST_REST = 200  # pixels that a step of detail needs

Box = tuple[int, int, int, int]


class Levels(NamedTuple):
    """How to turn the original's levels into the suspect's: gain [3] times level plus shift [3], by channel (BGR)."""

    gain: np.ndarray
    shift: np.ndarray


def fit_levels(suspects: Iterable[np.ndarray], originals: Iterable[np.ndarray], matrix: np.ndarray) -> Levels:
    """Gain and shift from pictures, BGR uint8 [H, W, 3], of the same moments; `matrix` [2, 3] places the original.

    They are fitted by least squares without the worst fifth of the pixels, such as a swapped face, a caption or a logo.
    """
    suspect_parts, original_parts = [], []
    for suspect, original in zip(suspects, originals, strict=True):
        warped, both = warp_onto(original, matrix, suspect.shape[:2])
        size = tuple(max(length // 8, 1) for length in suspect.shape[1::-1])
        inside = cv2.resize(both.astype(np.uint8), size, interpolation=cv2.INTER_AREA) == 1
        suspect_parts.append(cv2.resize(suspect, size, interpolation=cv2.INTER_AREA)[inside])
        original_parts.append(cv2.resize(warped, size, interpolation=cv2.INTER_AREA)[inside])
    ours, theirs = (np.concatenate(parts).astype(np.float64) for parts in (suspect_parts, original_parts))
    kept = np.ones(len(ours), bool)
    gain, shift = np.ones(3), np.zeros(3)
    for _ in range(3):
        means = ours[kept].mean(axis=0), theirs[kept].mean(axis=0)
        spread = ((theirs[kept] - means[1]) ** 2).sum(axis=0)
        gain = ((ours[kept] - means[0]) * (theirs[kept] - means[1])).sum(axis=0) / np.maximum(spread, 1e-6)
        gain = np.where(spread > len(ours), np.clip(gain, 0.3, 3), 1.0)  # unknown for a picture of a single colour
        shift = means[0] - gain * means[1]
        missed = np.abs(ours - gain * theirs - shift).max(axis=1)
        kept = missed <= np.quantile(missed, 0.8)
    return Levels(gain, shift)


def warp_onto(original: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A picture of the original, BGR uint8, in the suspect's pixels, and where it shows something: bool [H, W].

    `shape` is the suspect's (height, width).
    """
    height, width = shape
    unchanged = np.array([[1, 0, 0], [0, 1, 0]])
    if np.array_equal(matrix, unchanged) and original.shape[:2] == shape:
        return original, np.ones(shape, bool)
    smallest = float(np.linalg.svd(matrix[:, :2], compute_uv=False)[1])
    if smallest < 0.8:  # warpAffine would skip pixels
        original = cv2.GaussianBlur(original, (0, 0), 0.5 / smallest)
    warped = cv2.warpAffine(original, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    white = np.full(original.shape[:2], 255, np.uint8)
    inside = cv2.warpAffine(white, matrix, (width, height)) == 255
    return warped, cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1) == 1


def best_placement(
    placements: Sequence[Placement], suspects: Sequence[np.ndarray], originals: Sequence[np.ndarray]
) -> tuple[Placement, Levels]:
    """The placement under which pictures of the same moments, BGR uint8 [H, W, 3], differ least, and its levels.

    Differences beyond CLEAR count as CLEAR.
    """

    def difference(placement: Placement, levels: Levels) -> float:
        moments = [
            Moment(suspect, original, placement.matrix, levels)
            for suspect, original in zip(suspects, originals, strict=True)
        ]
        return float(np.mean([np.mean(np.minimum(moment.difference[moment.both], CLEAR)) for moment in moments]))

    fitted = [(placement, fit_levels(suspects, originals, placement.matrix)) for placement in placements]
    return min(fitted, key=lambda pair: difference(*pair))


class Moment:
    """Two pictures of the same moment, laid over each other, at most LONG_SIDE long.

    `difference`, float32 [h, w], is in levels, the mean over the channels; `detail`, int [h, w], is the step of detail;
    `both`, bool [h, w], is where both show something. `scale` is the side of these arrays over that of the suspect's
    picture. `suspect` and `original`, BGR uint8 [H, W, 3], have the suspect's size.
    """

    def __init__(self, suspect: np.ndarray, original: np.ndarray, matrix: np.ndarray, levels: Levels) -> None:
        self.scale = min(LONG_SIDE / max(suspect.shape[:2]), 1.0)
        warped, both = warp_onto(original, matrix, suspect.shape[:2])
        fitted = warped.astype(np.float32) * levels.gain.astype(np.float32) + levels.shift.astype(np.float32)
        self.suspect, self.original = suspect, np.clip(fitted, 0, 255).astype(np.uint8)
        smooth_suspect, smooth_original = (self.smoothed(image) for image in (suspect.astype(np.float32), fitted))
        self.difference = np.abs(smooth_suspect - smooth_original).mean(axis=2)
        grey = smooth_original.mean(axis=2)
        slopes = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)) / 8
        self.detail = np.digitize(slopes, DETAIL)
        size = smooth_suspect.shape[1::-1]
        self.both = cv2.resize(both.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) == 1

    def explained_by(self, outside: np.ndarray) -> np.ndarray:
        """How much each place would differ if it differed as much as equally detailed places in `outside`.

        `outside` is bool [h, w]. Returns levels, float32 [h, w], all NaN if `outside` is too small.
        """
        steps, differences = self.detail[outside], self.difference[outside]
        pixels = np.bincount(steps, minlength=len(DETAIL) + 1)
        known = np.flatnonzero(pixels >= LEAST_REST)
        if not len(known):
            return np.full(self.difference.shape, np.nan, np.float32)
        means = np.array([clipped_mean(differences[steps == step]) for step in known])
        nearest = np.abs(np.arange(len(pixels))[:, None] - known).argmin(axis=1)
        return means[nearest][self.detail].astype(np.float32)

    def around(self, box: Box, margin: float) -> tuple[slice, slice]:
        """The rows and columns of these arrays that show a box of the suspect and a margin, a fraction of its sides."""
        x1, y1, x2, y2 = (value * self.scale for value in box)
        across, down = margin * (x2 - x1), margin * (y2 - y1)
        rows = slice(max(int(y1 - down), 0), max(int(y2 + down) + 1, 0))
        columns = slice(max(int(x1 - across), 0), max(int(x2 + across) + 1, 0))
        return rows, columns

    def smoothed(self, image: np.ndarray) -> np.ndarray:
        """A picture, float32 [H, W, 3], scaled to these arrays' size and without its noise."""
        if self.scale < 1:
            image = cv2.resize(image, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA)
        return cv2.GaussianBlur(image, (0, 0), SMOOTH)


def clipped_mean(differences: np.ndarray) -> float:
    """The mean of differences [N], where those beyond OUTLIES times the median, as of a caption, count as that."""
    return float(np.minimum(differences, OUTLIES * np.median(differences)).mean())
