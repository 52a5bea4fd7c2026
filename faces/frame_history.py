"""What a video's frames show about its history: changes from frame to frame, black bars, parts that never change."""

from dataclasses import dataclass
from typing import Any, cast

import av
import cv2
import numpy as np

from faces.video import VideoInfo

COMPARED = 10  # one in ten frames is compared with the first
SIDE = 640  # pixels, the longer side to which a frame is made smaller before it is compared with others
BLOCK = 16  # pixels, the side of a block whose mean change counts
DETAIL = 25.0  # standard deviation of a block with sharp detail, such as text
STILL_CHANGE = 0.05  # mean change of a still block, as a share of that deviation
BLACK, BLACK_PEAK, LIT = 20, 40, 28  # luma of a bar's row on average and at most, and of the row behind it at least
LEAST_BAR = 0.02  # of the height or width


@dataclass(frozen=True)
class Bars:
    """Black bars at the edges of a picture, in pixels, upright."""

    top: int
    bottom: int
    left: int
    right: int


def luma_of(frame: av.VideoFrame) -> np.ndarray:
    """A frame's luma, not yet turned upright, uint8 [H, W]."""
    planar = frame if frame.format.name in ("yuv420p", "yuvj420p", "nv12") else frame.reformat(format="yuv420p")
    plane = planar.planes[0]
    rows = np.frombuffer(cast(Any, plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: planar.height, : planar.width]


class Look:
    """What is measured on the luma of frames, one after the other."""

    def __init__(self, info: VideoInfo) -> None:
        self.orientation = info.orientation
        self.changes: list[float] = []  # from frame to frame, of the block that changes most
        self.number = 0
        self.before = self.first = self.moved = np.empty(0)
        self.means = self.peaks = (np.empty(0), np.empty(0))

    def at(self, frame: av.VideoFrame) -> None:
        """Measure the next frame."""
        luma = self.orientation.upright(luma_of(frame)[..., None])[..., 0]
        small = shrink(luma)
        if self.number:
            self.changes.append(float(blocks(cv2.absdiff(small, self.before)).max()))
        if self.number % COMPARED == 0:
            self.compare(luma, small)
        self.before, self.number = small, self.number + 1

    def compare(self, luma: np.ndarray, small: np.ndarray) -> None:
        """Compare a frame with the first, and look for bars."""
        if not self.number:
            self.first, self.moved = small, np.zeros_like(blocks(small))
            self.means = self.peaks = (np.zeros(len(luma)), np.zeros(luma.shape[1]))
        self.moved = np.maximum(self.moved, blocks(cv2.absdiff(small, self.first)))
        self.means = np.maximum(self.means[0], luma.mean(1)), np.maximum(self.means[1], luma.mean(0))
        self.peaks = np.maximum(self.peaks[0], luma.max(1)), np.maximum(self.peaks[1], luma.max(0))

    def bars(self) -> Bars | None:
        """Black bars on opposite sides of all compared frames."""
        if not self.number:
            return None
        (top, bottom), (left, right) = (edges(mean, peak) for mean, peak in zip(self.means, self.peaks, strict=True))
        return Bars(top, bottom, left, right) if top or left else None

    def still_share(self) -> float:
        """The share of blocks that have sharp detail and never change."""
        first = self.first.astype(np.float32)
        detail = np.sqrt(np.maximum(blocks(first**2) - blocks(first) ** 2, 0))
        return round(float(((self.moved <= STILL_CHANGE * detail) & (detail >= DETAIL)).mean()), 3)


def shrink(luma: np.ndarray) -> np.ndarray:
    """A picture [H, W] whose longer side is at most SIDE."""
    scale = SIDE / max(luma.shape)
    if scale >= 1:
        return luma.copy()
    return cv2.resize(luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def blocks(image: np.ndarray) -> np.ndarray:
    """The mean of each block of an image [H, W], float32 [H // BLOCK, W // BLOCK]."""
    height, width = (max(side // BLOCK, 1) * BLOCK for side in image.shape)
    size = width // BLOCK, height // BLOCK
    return cv2.resize(image[:height, :width].astype(np.float32), size, interpolation=cv2.INTER_AREA)


def edges(means: np.ndarray, peaks: np.ndarray) -> tuple[int, int]:
    """The number of black rows at the start and at the end, if there are both and the picture behind them is lit."""
    black = (means <= BLACK) & (peaks <= BLACK_PEAK)
    if black.all():
        return 0, 0
    start, end = int(np.argmin(black)), int(np.argmin(black[::-1]))
    least = max(LEAST_BAR * len(means), 4)
    behind = min(means[start : start + 4].max(), means[len(means) - end - 4 : len(means) - end].max())
    return (start, end) if min(start, end) >= least and behind >= LIT else (0, 0)
