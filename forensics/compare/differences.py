"""What differs between two clips: face by face, and in the rest of the picture.

The rest, outside the faces, tells how much a face would differ if nothing but compression had touched it (`overlay`).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from forensics.compare.in_picture import Placement
from forensics.compare.overlay import CLEAR, Box, Levels, Moment

CHANGED = 2.5  # times what compression explains; unchanged faces of the sample clips reach 1.9 at most
MARGIN = 0.25  # of a face's box, on each side: what changed there is not told apart from the face
SQUARE = 1.6  # side of the square that is shown of a face, over the longer side of its box
SHOWN = 96  # its side in pixels
LEAST_EXPLAINED = 0.5  # levels: two files hardly agree better
ACROSS, DOWN = ("left", "middle", "right"), ("top", "middle", "bottom")


class PixelTotals:
    """The differences of many pixels: their mean in levels, and the share that differs clearly."""

    def __init__(self) -> None:
        self.total = 0.0
        self.pixels = self.clear = 0

    def add(self, differences: np.ndarray) -> float:
        """Add pixels by their differences [N]; return the mean of these, NaN if there are none."""
        self.total += float(differences.sum())
        self.pixels += len(differences)
        self.clear += int((differences > CLEAR).sum())
        return float(differences.mean()) if len(differences) else math.nan

    @property
    def mean(self) -> float:
        """The mean difference in levels."""
        return self.total / max(self.pixels, 1)

    @property
    def clear_share(self) -> float:
        """The share of the pixels that differ clearly, in [0, 1]."""
        return self.clear / max(self.pixels, 1)


class FaceMoment(NamedTuple):
    """A face at a moment, in the square around it, SHOWN pixels wide.

    `suspect` and `original` are BGR uint8 [SHOWN, SHOWN, 3]. `difference` [SHOWN, SHOWN] is in levels; `expected` is
    how much compression explains, NaN if that is not known. `mean` is the mean difference in the face's box.
    """

    time: float
    suspect: np.ndarray
    original: np.ndarray
    difference: np.ndarray
    expected: np.ndarray
    mean: float


@dataclass
class FaceDifference:
    """How a face differs over the moments that were compared."""

    whole: PixelTotals = field(default_factory=PixelTotals)
    explained: PixelTotals = field(default_factory=PixelTotals)  # by compression
    moments: list[FaceMoment] = field(default_factory=list)

    @property
    def map(self) -> np.ndarray:
        """The mean difference over time, [SHOWN, SHOWN] in levels, in the square around the face."""
        return np.mean([moment.difference for moment in self.moments], axis=0)

    @property
    def times_explained(self) -> np.ndarray:
        """How many times as large as compression explains the difference is, smoothed, in the middle of the square.

        [[NaN]] if nothing tells what compression explains.
        """
        known = [moment for moment in self.moments if np.isfinite(moment.expected).all()]
        if not known:
            return np.full((1, 1), np.nan)
        edge = round(SHOWN * (1 - 1 / SQUARE) / 2)  # there is no face beyond it

        def smooth_mean(maps: list[np.ndarray]) -> np.ndarray:
            return cv2.GaussianBlur(np.mean(maps, axis=0)[edge:-edge, edge:-edge], (0, 0), SHOWN / 16)

        differences = smooth_mean([moment.difference for moment in known])
        return differences / np.maximum(smooth_mean([moment.expected for moment in known]), LEAST_EXPLAINED)

    @property
    def largest(self) -> FaceMoment:
        """The moment at which it differs most."""
        return max(self.moments, key=lambda moment: moment.mean)

    @property
    def peak(self) -> float:
        """How many times as large as compression explains the difference is where it is largest; NaN if not known."""
        return float(self.times_explained.max())

    @property
    def place(self) -> str:
        """Where in the face that is, in words."""
        ratios = self.times_explained
        y, x = np.unravel_index(int(ratios.argmax()), ratios.shape)
        across, down = ACROSS[3 * int(x) // len(ratios)], DOWN[3 * int(y) // len(ratios)]
        return "middle" if across == down == "middle" else f"{down} {across}"

    @property
    def is_changed(self) -> bool | None:
        """Whether it differs by more than compression explains; None if that is not known."""
        if not self.moments or not np.isfinite(self.peak):
            return None
        return self.peak >= CHANGED


@dataclass
class Differences:
    """What differs between two clips.

    `map`, float32 [h, w], is the mean difference over time in levels, NaN where the original shows nothing.
    `rest_over_time` holds the mean difference of the rest at each of `times`.
    """

    faces: list[FaceDifference]
    rest: PixelTotals  # outside the faces
    map: np.ndarray
    times: list[float]
    rest_over_time: list[float]


def compare(
    suspects: Iterable[np.ndarray],
    originals: Iterable[np.ndarray],
    times: Sequence[float],
    boxes: Sequence[Sequence[Box | None]],
    hidden: Sequence[Sequence[Box]],
    placement: Placement,
    levels: Levels,
) -> Differences:
    """Compare pictures, BGR uint8 [H, W, 3], that show the same moments, at `times`.

    `boxes` holds each face's boxes at the moments, in the suspect's pixels, None where the face is not seen. `hidden`
    holds the same with the nearest box in time where it is not seen; the rest of the picture is what lies outside them.
    """
    faces = [FaceDifference() for _ in boxes]
    rest, rest_over_time = PixelTotals(), []
    total = np.zeros((), np.float32)
    for index, (suspect, original) in enumerate(zip(suspects, originals, strict=True)):
        moment = Moment(suspect, original, placement.matrix, levels)
        outside = moment.both.copy()
        for hidden_boxes in hidden:
            outside[moment.around(hidden_boxes[index], MARGIN)] = False
        expected = moment.explained_by(outside)
        for face, face_boxes in zip(faces, boxes, strict=True):
            if (box := face_boxes[index]) is not None:
                add_moment(face, moment, box, times[index], expected)
        rest_over_time.append(rest.add(moment.difference[outside]))
        total = total + np.where(moment.both, moment.difference, np.nan)
    return Differences(faces, rest, total / len(times), list(times), rest_over_time)


def add_moment(face: FaceDifference, moment: Moment, box: Box, time: float, expected: np.ndarray) -> None:
    """Add how a face differs at a moment, unless its box lies where the original shows nothing.

    `expected` [h, w] is how much compression explains, as `Moment.explained_by` gives it.
    """
    place = moment.around(box, 0)
    inside = moment.both[place]
    if not inside.any():
        return
    mean = face.whole.add(moment.difference[place][inside])
    if np.isfinite(expected).all():
        face.explained.add(expected[place][inside])
    x1, y1, x2, y2 = (value * moment.scale for value in box)
    middle, side = ((x1 + x2) / 2, (y1 + y2) / 2), SQUARE * max(x2 - x1, y2 - y1)
    suspect, original = (square(image, middle, side, moment.scale) for image in (moment.suspect, moment.original))
    # Where the original shows nothing, what is expected stands in, so that it does not count as changed.
    known = np.where(moment.both | np.isnan(expected), moment.difference, expected)
    difference, explained = (square(values, middle, side, 1.0) for values in (known, expected))
    face.moments.append(FaceMoment(time, suspect, original, difference, explained, mean))


def square(image: np.ndarray, middle: tuple[float, float], side: float, scale: float) -> np.ndarray:
    """A square of an image [H, W] or [H, W, 3], scaled to SHOWN pixels; black beyond the border.

    `middle` (x, y) and `side` are in pixels of the image scaled by `scale`.
    """
    zoom = SHOWN * scale / side
    shift = [SHOWN / 2 - zoom * place / scale for place in middle]
    matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    smooth = cv2.GaussianBlur(image, (0, 0), 0.5 / zoom) if zoom < 0.8 else image
    return cv2.warpAffine(smooth, matrix, (SHOWN, SHOWN), flags=cv2.INTER_LINEAR)
