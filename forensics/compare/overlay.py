"""The original laid over the suspect, and what differs then, pixel by pixel.

Its levels are fitted to the suspect's, and both are smoothed, so that the noise of compression does not count. What
compression leaves depends on how detailed a picture is. So one part of the picture tells, by steps of detail, what
another part would differ by if nothing but compression had touched it.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from forensics.compare.in_picture import Placed

LONG_SIDE = 960  # of the pictures that are compared, in pixels
SMOOTH = 1.5  # pixels, the standard deviation
DETAIL = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # levels a pixel, between the steps of detail
CLEAR = 10.0  # levels: a difference that can be seen
OUTLIES = 4.0  # times the median of differences
LEAST_REST = 200  # pixels that a step of detail needs

Box = tuple[int, int, int, int]


class Levels(NamedTuple):
    """What the suspect's levels are in terms of the original's, by channel (BGR): gain times level plus shift."""

    gain: np.ndarray
    shift: np.ndarray


def fit_levels(suspects: Iterable[np.ndarray], originals: Iterable[np.ndarray], matrix: np.ndarray) -> Levels:
    """Gain and shift by channel, by least squares over pictures that show the same moments, but for their worst fifth.

    A swapped face, a caption or a logo are among that fifth.
    """
    ours, theirs = [], []
    for suspect, original in zip(suspects, originals, strict=True):
        laid, both = lay_over(original, matrix, suspect.shape[:2])
        size = tuple(max(length // 8, 1) for length in suspect.shape[1::-1])
        inside = cv2.resize(both.astype(np.uint8), size, interpolation=cv2.INTER_AREA) == 1
        ours.append(cv2.resize(suspect, size, interpolation=cv2.INTER_AREA)[inside])
        theirs.append(cv2.resize(laid, size, interpolation=cv2.INTER_AREA)[inside])
    here, there = (np.concatenate(parts).astype(np.float64) for parts in (ours, theirs))
    kept = np.ones(len(here), bool)
    gain, shift = np.ones(3), np.zeros(3)
    for _ in range(3):
        means = here[kept].mean(axis=0), there[kept].mean(axis=0)
        spread = ((there[kept] - means[1]) ** 2).sum(axis=0)
        gain = ((here[kept] - means[0]) * (there[kept] - means[1])).sum(axis=0) / np.maximum(spread, 1e-6)
        gain = np.where(spread > len(here), np.clip(gain, 0.3, 3), 1.0)  # of a picture of one colour it is unknown
        shift = means[0] - gain * means[1]
        missed = np.abs(here - gain * there - shift).max(axis=1)
        kept = missed <= np.quantile(missed, 0.8)
    return Levels(gain, shift)


def lay_over(original: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A picture of the original in the suspect's pixels, and where it shows something: bool [H, W]."""
    height, width = shape
    whole = np.array([[1, 0, 0], [0, 1, 0]])
    if np.array_equal(matrix, whole) and original.shape[:2] == shape:
        return original, np.ones(shape, bool)
    smallest = float(np.linalg.svd(matrix[:, :2], compute_uv=False)[1])
    if smallest < 0.8:  # warpAffine would skip pixels
        original = cv2.GaussianBlur(original, (0, 0), 0.5 / smallest)
    laid = cv2.warpAffine(original, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    white = np.full(original.shape[:2], 255, np.uint8)
    inside = cv2.warpAffine(white, matrix, (width, height)) == 255
    return laid, cv2.erode(inside.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1) == 1


def best_of(
    maps: Sequence[Placed], suspects: Sequence[np.ndarray], originals: Sequence[np.ndarray]
) -> tuple[Placed, Levels]:
    """The map under which pictures of the same moments differ least, and its levels.

    Beyond CLEAR a difference counts no more.
    """

    def apart(placed: Placed, levels: Levels) -> float:
        moments = [Moment(*pair, placed.matrix, levels) for pair in zip(suspects, originals, strict=True)]
        return float(np.mean([np.mean(np.minimum(moment.apart[moment.both], CLEAR)) for moment in moments]))

    fitted = [(one, fit_levels(suspects, originals, one.matrix)) for one in maps]
    return min(fitted, key=lambda pair: apart(*pair))


class Moment:
    """Two pictures of a moment, laid over each other, no larger than LONG_SIDE.

    `apart` [h, w] is their difference in levels, the mean over the channels, `detail` [h, w] the step of detail, `both`
    [h, w] where both show something, `scale` the size of these arrays over the suspect's picture's.
    """

    def __init__(self, suspect: np.ndarray, original: np.ndarray, matrix: np.ndarray, levels: Levels) -> None:
        self.scale = min(LONG_SIDE / max(suspect.shape[:2]), 1.0)
        laid, both = lay_over(original, matrix, suspect.shape[:2])
        fitted = laid.astype(np.float32) * levels.gain.astype(np.float32) + levels.shift.astype(np.float32)
        self.suspect, self.original = suspect, np.clip(fitted, 0, 255).astype(np.uint8)
        here, there = (self.smoothed(image) for image in (suspect.astype(np.float32), fitted))
        self.apart = np.abs(here - there).mean(axis=2)
        grey = there.mean(axis=2)
        slopes = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)) / 8
        self.detail = np.digitize(slopes, DETAIL)
        self.both = cv2.resize(both.astype(np.uint8), here.shape[1::-1], interpolation=cv2.INTER_NEAREST) == 1

    def explained_by(self, outside: np.ndarray) -> np.ndarray:
        """What the part `outside` [h, w] differs by where it is as detailed, [h, w]; NaN if it is too small."""
        steps, apart = self.detail[outside], self.apart[outside]
        pixels = np.bincount(steps, minlength=len(DETAIL) + 1)
        known = np.flatnonzero(pixels >= LEAST_REST)
        if not len(known):
            return np.full(self.apart.shape, np.nan, np.float32)
        means = np.array([usual(apart[steps == step]) for step in known])
        nearest = np.abs(np.arange(len(pixels))[:, None] - known).argmin(axis=1)
        return means[nearest][self.detail].astype(np.float32)

    def around(self, box: Box, margin: float) -> tuple[slice, slice]:
        """The rows and columns of a box and of a margin, a fraction of its sides, in these arrays."""
        x1, y1, x2, y2 = (value * self.scale for value in box)
        across, down = margin * (x2 - x1), margin * (y2 - y1)
        return slice(max(int(y1 - down), 0), max(int(y2 + down) + 1, 0)), slice(
            max(int(x1 - across), 0), max(int(x2 + across) + 1, 0)
        )

    def smoothed(self, image: np.ndarray) -> np.ndarray:
        """A picture, float32 [H, W, 3], at most LONG_SIDE long and without its noise."""
        if self.scale < 1:
            image = cv2.resize(image, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA)
        return cv2.GaussianBlur(image, (0, 0), SMOOTH)


def usual(apart: np.ndarray) -> float:
    """The mean of differences [N]; one beyond OUTLIES times their median, as of a caption, counts as that."""
    return float(np.minimum(apart, OUTLIES * np.median(apart)).mean())
