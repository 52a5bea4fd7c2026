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

SMALL = 64  # longer side of a small copy, in pixels
KEPT = 10_000  # small copies per clip, at most


class Clip(NamedTuple):
    """A clip. `times` [F] are those of all its frames, in seconds of a player's clock.

    `small`, uint8 [N, h, w], holds grey copies of the frames whose numbers are `kept`, int [N], in ascending order.
    """

    path: Path
    info: VideoInfo
    times: np.ndarray
    kept: np.ndarray
    small: np.ndarray

    @property
    def frame_seconds(self) -> float:
        """How long a frame is shown, in seconds; 0 for a still image."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0

    @property
    def has_gaps(self) -> bool:
        """Whether there are frames without a copy between those that have one."""
        return bool((np.diff(self.kept) > 1).any())

    def between(self, numbers: np.ndarray) -> "Clip":
        """The clip with a copy of every frame from the first to the last of ascending numbers [N].

        If these are more than KEPT, those in the middle have copies.
        """
        first, last = int(numbers[0]), int(numbers[-1])
        spare = max(last - first + 1 - KEPT, 0)
        return read_clip(self.path, range(first + spare // 2, last + 1 - (spare - spare // 2)))

    def frames(self, numbers: Iterable[int]) -> Iterator[np.ndarray]:
        """The frames with these numbers, BGR uint8 [H, W, 3], decoded again. The numbers ascend and may repeat."""
        numbers = list(numbers)
        wanted = set(numbers)
        decoded = Still(self.path).reread(wanted) if self.info.still else read_some(self.path, self.info, wanted)
        current, image = -1, np.empty(0)
        for number in numbers:
            while current != number:
                current, image = next(decoded)
            yield image


def read_clip(path: Path, numbers: range | None = None) -> Clip:
    """Read a video or still image, with small copies of the frames with these numbers, by default of up to KEPT frames.

    Raises UnsupportedError, DecodeError or FileNotFoundError, and BadInputError if the times run backwards.
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
