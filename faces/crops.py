"""From a track to crops of one size (reference, section 2): square, inside the image, no padding, no rotation."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from faces.tracking import Track, fill_track

SCALE = 1.3  # side of the crop over the longer side of the box
Box = Sequence[int]


class Square(NamedTuple):
    """The upper left corner and the side of a square, in pixels."""

    x: int
    y: int
    size: int


def _corner(box: Box, size: int) -> tuple[int, int]:
    x1, y1, x2, y2 = box
    return max((x1 + x2) // 2 - size // 2, 0), max((y1 + y2) // 2 - size // 2, 0)


def bounding_square(box: Box, width: int, height: int) -> Square:
    """The square of 1.3 times the longer side around a box, shrunk where it leaves the image to the right or below."""
    size = int(max(box[2] - box[0], box[3] - box[1]) * SCALE)
    x, y = _corner(box, size)
    size = min(width - x, size)
    return Square(x, y, min(height - y, size))


def aligned_square(box: Box, size: int, width: int, height: int) -> Square:
    """The square of a given side around a box, moved into the image; `size` must not exceed the image."""
    x, y = _corner(box, size)
    return Square(min(x, width - size), min(y, height - size), size)


def align_track(filled: Track, width: int, height: int) -> list[Square]:
    """One square per frame, all of one size: the largest bounding square of the filled track, made even.

    As in the reference the size is max // 2 * 2, then at most the image's sides. A face of one pixel gets a side of 2.
    """
    largest = max(bounding_square(detection.box, width, height).size for detection in filled)
    size = min(max(largest // 2 * 2, 2), height, width)
    return [aligned_square(detection.box, size, width, height) for detection in filled]


class Crop(NamedTuple):
    """A crop to be cut: of which face, for which frame (both counted from 0), and where."""

    face: int
    frame: int
    square: Square


def plan_crops(
    tracks: Sequence[Track], frames: int, width: int, height: int
) -> tuple[list[list[Square]], dict[int, list[Crop]]]:
    """The squares of every track in every frame, and the crops to cut from each source frame, by its number from 0.

    Where a track has no detection in a frame, both square and pixels come from the frame of its nearest detection.
    """
    squares, by_source = [], defaultdict(list)
    for face, track in enumerate(tracks):
        filled = fill_track(track, frames)
        squares.append(align_track(filled, width, height))
        for frame, (detection, square) in enumerate(zip(filled, squares[-1], strict=True)):
            by_source[detection.frame].append(Crop(face, frame, square))
    return squares, dict(by_source)


def cut(frame: np.ndarray, square: Square) -> np.ndarray:
    """The square of a frame [height, width, 3] -> [size, size, 3], a view."""
    return frame[square.y : square.y + square.size, square.x : square.x + square.size]
