"""A clip as the comparison sees it: when its frames are shown, and small grey copies of them."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from common.errors import BadInputError
from faces.stills import Still
from faces.video import Reading, VideoInfo, probe, read_some
from faces.video_files import is_picture

SMALL = 64  # the longer side of a small copy, in pixels
KEPT = 10_000  # small copies of a clip, at most


class Clip(NamedTuple):
    """A clip, with the times of its frames in seconds of a player's clock.

    `small` holds grey copies, uint8 [N, h, w], of the frames with the numbers `kept`.
    """

    path: Path
    info: VideoInfo
    times: np.ndarray
    kept: np.ndarray
    small: np.ndarray

    @property
    def frame(self) -> float:
        """How long a frame is shown, in seconds; 0 of a picture."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0

    def near(self, numbers: np.ndarray) -> "Clip":
        """The clip with a copy of every frame between the numbers [N], in ascending order, up to KEPT in the middle."""
        first, last = int(numbers[0]), int(numbers[-1])
        spare = max(last - first + 1 - KEPT, 0)
        return read_clip(self.path, range(first + spare // 2, last + 1 - (spare - spare // 2)))

    @property
    def has_gaps(self) -> bool:
        """Whether there are frames without a copy between those that have one."""
        return bool((np.diff(self.kept) > 1).any())

    def frames(self, numbers: Iterable[int]) -> Iterator[np.ndarray]:
        """The frames with these numbers, BGR uint8, decoded once more. The numbers ascend; one may come twice."""
        numbers = list(numbers)
        once = (
            Still(self.path).reread(set(numbers)) if self.info.still else read_some(self.path, self.info, set(numbers))
        )
        at, image = -1, np.empty(0)
        for number in numbers:
            while at != number:
                at, image = next(once)
            yield image


def read_clip(path: Path, numbers: range | None = None) -> Clip:
    """Read a video or a picture, with small copies of the frames with some numbers, or of up to KEPT over all of it.

    Raises UnsupportedError, DecodeError or FileNotFoundError.
    """
    still = Still(path) if is_picture(path) else None
    info = still.info if still else probe(path)
    wanted = numbers or range(0, sys.maxsize, -(-info.frames // KEPT))
    scale = SMALL / max(info.height, info.width)
    size = max(round(info.width * scale), 1), max(round(info.height * scale), 1)
    times, small, kept = [], [], []
    for shown in still or Reading(path, info):
        times.append(shown.number / (info.fps or 1) if shown.time is None else shown.time)
        if shown.number in wanted:
            kept.append(shown.number)
            grey = cv2.cvtColor(shown.image, cv2.COLOR_BGR2GRAY)
            small.append(cv2.resize(grey, size, interpolation=cv2.INTER_AREA))
    if (np.diff(times) < 0).any():
        raise BadInputError(f"{path}: the times of its frames run backwards")
    return Clip(path, info, np.array(times), np.array(kept), np.stack(small))
