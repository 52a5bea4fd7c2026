"""How the frames of a video are to be turned, or mirrored, so that they show what players show."""

import struct
from typing import NamedTuple, cast

import av
import numpy as np
from av.sidedata.sidedata import SideData

STRAIGHT = 0.0087  # the tangent of half a degree: ffmpeg takes angles up to that for whole quarter turns


class Orientation(NamedTuple):
    """Quarter turns, counterclockwise, and then whether left and right change places: all eight orientations.

    `known` is False for a display matrix that is none of them, as for shears and other angles: frames stay as stored.
    """

    turns: int = 0
    mirrored: bool = False
    known: bool = True

    @property
    def degrees(self) -> int:
        """The turn in degrees, counterclockwise."""
        return 90 * self.turns

    def upright(self, image: np.ndarray) -> np.ndarray:
        """A stored image [H, W, 3] as it is shown."""
        if not self.turns and not self.mirrored:
            return image
        turned = np.rot90(image, self.turns)
        return np.ascontiguousarray(turned[:, ::-1] if self.mirrored else turned)

    def __str__(self) -> str:
        if self.turns:
            return f"turned upright by {self.degrees} degrees" + " and mirrored" * self.mirrored
        return "mirrored, as its metadata asks" if self.mirrored else ""


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """The orientation that a frame's display matrix asks for (ISO/IEC 14496-12, 6.2.2: a, b, u, c, d, v, x, y, w).

    A point (x, y) of the stored frame, y downwards, is shown at (a x + c y, b x + d y).
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Orientation()
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(cast(SideData, matrix)))
    if a and d and max(abs(b), abs(c)) <= STRAIGHT * min(abs(a), abs(d)):
        return Orientation(0 if d > 0 else 2, (a > 0) != (d > 0))
    if b and c and max(abs(a), abs(d)) <= STRAIGHT * min(abs(b), abs(c)):
        return Orientation(3 if b > 0 else 1, (b > 0) == (c > 0))
    return Orientation(known=False)
