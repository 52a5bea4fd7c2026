"""What differs between two clips: face by face, and in the rest of the picture.

The rest, outside the faces, tells what a face would differ by if nothing but compression had touched it (`overlay`).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from forensics.compare.in_picture import Placed
from forensics.compare.overlay import CLEAR, Box, Levels, Moment

MARGIN = 0.25  # of a face's box on each side: what changed there is not told from the face
SQUARE = 1.6  # side of the square that is shown of a face, over the longer side of its box
SHOWN = 96  # its side in pixels
LEAST_EXPLAINED = 0.5  # levels: two files hardly agree better
PLACES = (("left", "middle", "right"), ("top", "middle", "bottom"))


class Sum:
    """A sum over pixels: their mean difference in levels, and the share that differs clearly."""

    def __init__(self) -> None:
        self.total = 0.0
        self.pixels = self.clear = 0

    def add(self, apart: np.ndarray) -> float:
        """Add pixels [N] by their difference; return their mean, NaN if there are none."""
        self.total += float(apart.sum())
        self.pixels += len(apart)
        self.clear += int((apart > CLEAR).sum())
        return float(apart.mean()) if len(apart) else math.nan

    @property
    def mean(self) -> float:
        """The mean difference."""
        return self.total / max(self.pixels, 1)

    @property
    def share(self) -> float:
        """The share of the pixels that differ clearly."""
        return self.clear / max(self.pixels, 1)


class Seen(NamedTuple):
    """A face at a moment, in the square around it, SHOWN pixels wide.

    The pictures of both, BGR uint8; their difference in levels, and the one that compression explains, NaN if that is
    not known. `mean` is the difference in its box.
    """

    time: float
    suspect: np.ndarray
    original: np.ndarray
    apart: np.ndarray
    expected: np.ndarray
    mean: float


@dataclass
class FaceDifference:
    """How a face differs over the moments that were compared."""

    whole: Sum = field(default_factory=Sum)
    explained: Sum = field(default_factory=Sum)  # by compression
    seen: list[Seen] = field(default_factory=list)

    @property
    def map(self) -> np.ndarray:
        """The mean difference over time, [SHOWN, SHOWN] in levels, in the square around the face."""
        return np.mean([one.apart for one in self.seen], axis=0)

    @property
    def times_explained(self) -> np.ndarray:
        """How many times as large as compression explains the difference is in the middle of the square, smoothed.

        NaN if nothing tells what compression explains.
        """
        known = [one for one in self.seen if np.isfinite(one.expected).all()]
        if not known:
            return np.full((1, 1), np.nan)
        maps = [np.mean([getattr(one, name) for one in known], axis=0) for name in ("apart", "expected")]
        edge = round(SHOWN * (1 - 1 / SQUARE) / 2)  # beyond that is no face
        inner = (one[edge:-edge, edge:-edge] for one in maps)
        here, there = (cv2.GaussianBlur(one, (0, 0), SHOWN / 16) for one in inner)
        return here / np.maximum(there, LEAST_EXPLAINED)

    @property
    def largest(self) -> Seen:
        """The moment at which it differs most."""
        return max(self.seen, key=lambda one: one.mean)

    @property
    def peak(self) -> float:
        """How many times as large as compression explains the difference is where it is largest."""
        return float(self.times_explained.max())

    @property
    def place(self) -> str:
        """Where in the face that is, in words."""
        known = self.times_explained
        y, x = np.unravel_index(int(known.argmax()), known.shape)
        across, down = (names[3 * int(at) // len(known)] for names, at in zip(PLACES, (x, y), strict=True))
        return "middle" if across == down == "middle" else f"{down} {across}"


@dataclass
class Differences:
    """What differs between two clips: by face, in the rest of the picture, and where in it.

    `map` [h, w] is the mean difference over time in levels, NaN where the original shows nothing. `over_time` holds
    times, `rest_over_time` the rest's mean difference at them.
    """

    faces: list[FaceDifference]
    rest: Sum
    map: np.ndarray
    over_time: list[float]
    rest_over_time: list[float]


def compare(
    suspects: Iterable[np.ndarray],
    originals: Iterable[np.ndarray],
    times: Sequence[float],
    boxes: Sequence[Sequence[Box | None]],
    hidden: Sequence[Sequence[Box]],
    placed: Placed,
    levels: Levels,
) -> Differences:
    """Compare pictures, BGR uint8, that show the same moments.

    `times` are those of the moments, `boxes` each face's boxes at them in the suspect's pixels, None where it is not
    seen; `hidden` those that stand in there. The rest of the picture is what these leave.
    """
    faces = [FaceDifference() for _ in boxes]
    rest, rest_over_time = Sum(), []
    total = np.zeros((), np.float32)
    for at, (suspect, original) in enumerate(zip(suspects, originals, strict=True)):
        one = Moment(suspect, original, placed.matrix, levels)
        outside = one.both.copy()
        for mine in hidden:
            outside[one.around(mine[at], MARGIN)] = False
        expected = one.explained_by(outside)
        for face, own in zip(faces, boxes, strict=True):
            if (box := own[at]) is not None:
                add_face(face, one, box, times[at], expected)
        rest_over_time.append(rest.add(one.apart[outside]))
        total = total + np.where(one.both, one.apart, np.nan)
    return Differences(faces, rest, total / len(times), list(times), rest_over_time)


def add_face(face: FaceDifference, moment: Moment, box: Box, time: float, expected: np.ndarray) -> None:
    """Add a face's difference at a moment, unless it lies where the original shows nothing."""
    place = moment.around(box, 0)
    inside = moment.both[place]
    if not inside.any():
        return
    mean = face.whole.add(moment.apart[place][inside])
    if np.isfinite(expected).all():
        face.explained.add(expected[place][inside])
    x1, y1, x2, y2 = (value * moment.scale for value in box)
    middle, side = ((x1 + x2) / 2, (y1 + y2) / 2), SQUARE * max(x2 - x1, y2 - y1)
    ours, theirs = (square(image, middle, side, moment.scale) for image in (moment.suspect, moment.original))
    known = np.where(moment.both | np.isnan(expected), moment.apart, expected)  # where the original shows nothing
    apart, explained = (square(one, middle, side, 1.0) for one in (known, expected))
    face.seen.append(Seen(time, ours, theirs, apart, explained, mean))


def square(image: np.ndarray, middle: tuple[float, float], side: float, scale: float) -> np.ndarray:
    """A square of a picture, SHOWN pixels wide; beyond the border it is black. `scale` is that of middle and side."""
    zoom = SHOWN * scale / side
    shift = [SHOWN / 2 - zoom * place / scale for place in middle]
    matrix = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    smooth = cv2.GaussianBlur(image, (0, 0), 0.5 / zoom) if zoom < 0.8 else image
    return cv2.warpAffine(smooth, matrix, (SHOWN, SHOWN), flags=cv2.INTER_LINEAR)
