"""From boxes per frame to one track per face (reference, section 2). Pure functions on arrays."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from faces.boxes import iou_plus_one, tracking_boxes

SAME_FACE_IOU = 0.5
LEAST_SEEN = 5  # frames that show a face beyond those that the reference keeps; in fewer, chance finds stand as faces


class Detection(NamedTuple):
    """One box of a track: the frame it was seen in (counted from 0), its whole corners, its score in [0, 1]."""

    frame: int
    box: tuple[int, int, int, int]
    score: float


Track = list[Detection]


class Tracking(NamedTuple):
    """The voted number of faces, the number of frames that show so many, and the tracks kept, longest first.

    The first `chosen` tracks are those that the reference keeps.
    """

    voted_faces: int
    voted_frames: int
    tracks: list[Track]
    chosen: int


def voted_faces(counts: Sequence[int]) -> int:
    """The most frequent number of faces per frame; of equally frequent ones, the one seen first. 0 for no frames."""
    return Counter(counts).most_common(1)[0][0] if counts else 0


def link_tracks(boxes: Sequence[np.ndarray]) -> list[Track]:
    """Link the boxes [N, 5] of each frame, best score first, to tracks, in order of their first appearance.

    Each box goes to the track whose latest box overlaps it most, if their IoU is at least .5; else it starts a track.
    The IoUs are computed before the frame updates any track. A track takes one box per frame and drops later ones.
    Tracks never expire.
    """
    tracks: list[Track] = []
    near = Places()
    for frame, current in enumerate(boxes):
        moved: dict[int, Detection] = {}
        started: list[Detection] = []
        for row in current:
            x1, y1, x2, y2 = (int(value) for value in row[:4])
            detection = Detection(frame, (x1, y1, x2, y2), float(np.float32(row[4])))
            candidates = near.around(detection.box)
            overlaps = iou_plus_one(row[:4], near.boxes[candidates])
            best = int(overlaps.argmax()) if candidates else -1
            if best < 0 or overlaps[best] < SAME_FACE_IOU:
                started.append(detection)
            else:
                moved.setdefault(candidates[best], detection)
        for track, detection in moved.items():
            near.put(track, detection.box)
            tracks[track].append(detection)
        for detection in started:
            near.put(len(tracks), detection.box)
            tracks.append([detection])
    return tracks


class Places:
    """Where the latest box of each track is: a track by the cell of the picture that holds its box's centre.

    Two boxes with an IoU of at least .5 cover each at least half of the other's width and height. So each one's centre
    lies in the other, and the tracks that a box may join are found in the cells that it covers.
    """

    CELL = 32  # pixels

    def __init__(self) -> None:
        self.boxes: np.ndarray = np.empty((64, 4))  # of each track, in the order of the tracks; some rows to spare
        self.cells: dict[tuple[int, int], set[int]] = defaultdict(set)
        self.cell_of: dict[int, set[int]] = {}

    def put(self, track: int, box: tuple[int, int, int, int]) -> None:
        """Remember a track's latest box, instead of the one before it."""
        self.cell_of.get(track, set()).discard(track)
        x1, y1, x2, y2 = box
        cell = self.cell_of[track] = self.cells[(x1 + x2) // 2 // self.CELL, (y1 + y2) // 2 // self.CELL]
        cell.add(track)
        if track == len(self.boxes):
            self.boxes = np.concatenate([self.boxes, np.empty_like(self.boxes)])
        self.boxes[track] = box

    def around(self, box: tuple[int, int, int, int]) -> list[int]:
        """All tracks that may overlap a box by an IoU of .5, and some others, in order."""
        x1, y1, x2, y2 = box
        rows = range((y1 - 2) // self.CELL, (y2 + 2) // self.CELL + 1)
        columns = range((x1 - 2) // self.CELL, (x2 + 2) // self.CELL + 1)
        if len(rows) * len(columns) > len(self.cells):
            return sorted(set().union(*self.cells.values()))
        return sorted(track for y in rows for x in columns for track in self.cells.get((x, y), ()))


def track_faces(detections: Sequence[np.ndarray], max_faces: int | None = None, more: int = 0) -> Tracking:
    """Vote on the number of faces and keep the longest tracks, as many as were voted (or as there are).

    `detections` holds one [N, 5] array per frame, best score first, as the detector returns them. `max_faces` limits
    the tracks kept (inference: 2). Of equally long tracks the earlier comes first. Then come up to `more` others, which
    the vote or the limit left out: those that were seen in at least LEAST_SEEN frames, or in all.
    """
    boxes = [tracking_boxes(frame) for frame in detections]
    counts = [len(frame) for frame in boxes]
    faces = voted_faces(counts)
    tracks = sorted(link_tracks(boxes), key=len, reverse=True)
    kept = tracks[:faces][:max_faces]
    others = [track for track in tracks[len(kept) :] if len(track) >= min(LEAST_SEEN, len(boxes))]
    return Tracking(faces, counts.count(faces), kept + others[:more], len(kept))


def fill_track(track: Track, frames: int) -> Track:
    """The track's nearest detection for each of `frames` frames; of two equally near ones, the earlier.

    From one frame to the next it moves on by one detection at most.
    """
    filled = []
    at = 0
    for frame in range(frames):
        if at + 1 < len(track) and abs(track[at + 1].frame - frame) < abs(track[at].frame - frame):
            at += 1
        filled.append(track[at])
    return filled
