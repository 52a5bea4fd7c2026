"""Pixels around the faces, kept during the first decoding, so that most crops need no second one."""

from collections import defaultdict

import numpy as np

from faces.boxes import tracking_boxes
from faces.crops import SCALE, Square, cut

# Side of the region over the side of the box's own crop. The region is larger because a crop has the size of its
# track's largest one. With this margin, 17 of the sample clips' 1,819 crops lie outside.
MARGIN = 1.5


class Regions:
    """Regions of frames around the detections that tracking uses; those beyond `limit` bytes are not kept."""

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.kept: dict[int, list[tuple[int, int, np.ndarray]]] = defaultdict(list)

    def keep(self, number: int, frame: np.ndarray, detections: np.ndarray) -> None:
        """Copy the regions of a frame's detections [N, 5], while there is room."""
        height, width = frame.shape[:2]
        for x1, y1, x2, y2 in tracking_boxes(detections)[:, :4].astype(int).tolist():
            half = int(max(x2 - x1, y2 - y1) * SCALE * MARGIN) // 2 + 1
            centre_x, centre_y = (x1 + x2) // 2, (y1 + y2) // 2
            left, top = max(centre_x - half, 0), max(centre_y - half, 0)
            right, bottom = min(centre_x + half, width), min(centre_y + half, height)
            size = 3 * max(right - left, 0) * max(bottom - top, 0)
            if size <= self.left:
                self.left -= size
                self.kept[number].append((left, top, frame[top:bottom, left:right].copy()))

    def cut(self, number: int, square: Square) -> np.ndarray | None:
        """The pixels of a square of frame `number`, or None if no region holds all of it."""
        for left, top, pixels in self.kept.get(number, ()):
            x, y = square.x - left, square.y - top
            if x >= 0 and y >= 0 and y + square.size <= pixels.shape[0] and x + square.size <= pixels.shape[1]:
                return cut(pixels, Square(x, y, square.size))
        return None
