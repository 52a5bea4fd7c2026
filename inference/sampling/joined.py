"""The faces of a screening's groups, joined to faces of the video.

Between two groups a face moves as far as it likes, so the tracker's rule does not hold there. Within a stretch between
cuts, a face continues the nearest one of a similar size; beyond a cut, only one in the same place, as for the tracker.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from faces.boxes import iou_plus_one
from faces.crops import Square
from faces.tracking import SAME_FACE_IOU, Track, fill_track
from inference.sampling.sampled import Face
from inference.scoring import GROUP

SAME_SIZE = 2.0  # ratio of the widths of two boxes of one face, at most

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Group:
    """The frames that were looked at together: five, or one without a face; with the faces in them.

    `stretch` is the number of the stretch between cuts, `boxes` counts the boxes that tracking uses, `with_faces` the
    frames that have one, and `voted` is the number of faces that most frames show. The faces' frames count from 0.
    """

    times: list[float]
    stretch: int
    boxes: int = 0
    with_faces: int = 0
    voted: int = 0
    faces: tuple[Face, ...] = ()
    poster: bytes | None = None


@dataclass
class Joined:
    """A face of the video: its parts, each with the index of its group's first frame."""

    stretch: int
    parts: list[tuple[int, Face]] = field(default_factory=list)

    @property
    def box(self) -> Box:
        """Where it was last seen."""
        return self.parts[-1][1].track[-1].box

    @property
    def detections(self) -> int:
        """In how many frames it was seen."""
        return sum(len(face.track) for _, face in self.parts)

    def whole(self) -> Face:
        """The face with the track, the squares and the crops of all its parts."""
        track: Track = [
            detection._replace(frame=start + detection.frame) for start, face in self.parts for detection in face.track
        ]
        squares: list[Square] = [square for _, face in self.parts for square in face.squares]
        kinds = self.parts[0][1].crops
        return Face(
            track=track,
            squares=squares,
            crops={kind: np.concatenate([face.crops[kind] for _, face in self.parts]) for kind in kinds},
            decides=any(face.decides for _, face in self.parts),
            frames=[start + number for start, _ in self.parts for number in range(GROUP)],
            sources=[start + seen.frame for start, face in self.parts for seen in fill_track(face.track, GROUP)],
        )


def distance(box: Box, other: Box, same_stretch: bool) -> float | None:
    """How far two boxes are apart, in widths of the larger one; None if they are not of one face."""
    overlap = float(iou_plus_one(np.array(box, float), np.array([other], float))[0])
    if not same_stretch:
        return 1 - overlap if overlap >= SAME_FACE_IOU else None
    widths = sorted(max(right - left, 1) for left, _, right, _ in (box, other))
    if widths[1] > SAME_SIZE * widths[0] and overlap < SAME_FACE_IOU:
        return None
    across, down = ((box[side] + box[side + 2] - other[side] - other[side + 2]) / 2 for side in (0, 1))
    return math.hypot(across, down) / widths[1]


def joined(groups: Sequence[Group]) -> list[Face]:
    """The faces of groups in the order of time: those seen in most frames first, of equals the earlier."""
    found: list[Joined] = []
    start = 0
    for group in groups:
        free = list(found)
        for face in nearest_first(group, free):
            apart = {
                id(known): distance(face.track[0].box, known.box, known.stretch == group.stretch) for known in free
            }
            near = [known for known in free if apart[id(known)] is not None]
            if near:
                known = min(near, key=lambda known: apart[id(known)] or 0.0)
                free.remove(known)
            else:
                known = Joined(group.stretch)
                found.append(known)
            known.stretch = group.stretch
            known.parts.append((start, face))
        start += len(group.times)
    return [face.whole() for face in sorted(found, key=lambda known: -known.detections)]


def nearest_first(group: Group, known: Iterable[Joined]) -> list[Face]:
    """The faces of a group, those first that are nearest to a known face."""

    def nearest(face: Face) -> float:
        apart = [distance(face.track[0].box, other.box, other.stretch == group.stretch) for other in known]
        return min((value for value in apart if value is not None), default=float("inf"))

    known = list(known)
    return sorted(group.faces, key=nearest)
