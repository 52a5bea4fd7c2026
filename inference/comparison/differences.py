"""What differs between two clips, pixel by pixel, and how much of that recompression explains.

The original is laid over the suspect, and its levels are fitted to the suspect's. Both are smoothed, so that the noise
of compression does not count. What compression leaves depends on how detailed a picture is. So the rest of the picture,
outside the faces, tells by steps of detail what difference a face would show if nothing but compression had touched it.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from inference.comparison.in_picture import Placed

LONG_SIDE = 960  # of the pictures that are compared, in pixels
SMOOTH = 1.5  # pixels, the standard deviation
DETAIL = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # levels a pixel, between the steps of detail
MARGIN = 0.25  # of a face's box on each side: what changed there is not told from the face
SQUARE = 1.6  # side of the square that is shown of a face, over the longer side of its box
SHOWN = 96  # its side in pixels
CLEAR = 10.0  # levels: a difference that can be seen
OUTLIES = 4.0
LEAST_EXPLAINED = 0.5  # levels: two files hardly agree better
LEAST_REST = 200  # pixels that a step of detail needs in the rest of the picture
PLACES = (("left", "middle", "right"), ("top", "middle", "bottom"))

Box = tuple[int, int, int, int]


class Levels(NamedTuple):
    """What the suspect's levels are in terms of the original's, by channel (BGR): gain times level plus shift."""

    gain: np.ndarray
    shift: np.ndarray


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


def best_of(maps: Sequence[Placed], suspects: Sequence[np.ndarray], originals: Sequence[np.ndarray]) -> Placed:
    """The map under which pictures of the same moments differ least; beyond CLEAR a difference counts no more."""

    def apart(one: Placed) -> float:
        levels = fit_levels(suspects, originals, one.matrix)
        moments = [Moment(*pair, one.matrix, levels) for pair in zip(suspects, originals, strict=True)]
        return float(np.mean([np.mean(np.minimum(moment.apart[moment.both], CLEAR)) for moment in moments]))

    return min(maps, key=apart)


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
    total: np.ndarray | None = None
    count = 0.0
    for at, (suspect, original) in enumerate(zip(suspects, originals, strict=True)):
        one = Moment(suspect, original, placed.matrix, levels)
        outside = one.both.copy()
        here = [own[at] for own in boxes]
        for mine in hidden:
            outside[one.around(mine[at], MARGIN)] = False
        expected = one.explained_by(outside)
        for face, box in zip(faces, here, strict=True):
            if box is not None:
                add_face(face, one, box, times[at], expected)
        rest_over_time.append(rest.add(one.apart[outside]))
        shown = np.where(one.both, one.apart, np.nan)
        total, count = (shown if total is None else total + shown), count + 1
    assert total is not None  # there is a moment
    return Differences(faces, rest, total / count, list(times), rest_over_time)


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
