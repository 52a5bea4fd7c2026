"""From boxes per frame to one track per face (contract, section 2). Pure functions on arrays."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from faces.boxes import iou_plus_one, tracking_boxes

SAME_FACE_IOU = 0.5


class Detection(NamedTuple):
    """One box of a track: the frame it was seen in (counted from 0), its whole corners, its score in [0, 1]."""

    frame: int
    box: tuple[int, int, int, int]
    score: float


Track = list[Detection]


class Tracking(NamedTuple):
    """The voted number of faces, the number of frames that show so many, and the tracks kept, longest first."""

    voted_faces: int
    voted_frames: int
    tracks: list[Track]


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
    for frame, current in enumerate(boxes):
        active = np.array([track[-1].box for track in tracks], dtype=np.float64).reshape(-1, 4)
        taken: set[int] = set()
        for row in current:
            x1, y1, x2, y2 = (int(value) for value in row[:4])
            detection = Detection(frame, (x1, y1, x2, y2), float(np.float32(row[4])))
            overlaps = iou_plus_one(row[:4], active)
            best = int(overlaps.argmax()) if len(overlaps) else -1
            if best < 0 or overlaps[best] < SAME_FACE_IOU:
                tracks.append([detection])
            elif best not in taken:
                taken.add(best)
                tracks[best].append(detection)
    return tracks


def track_faces(detections: Sequence[np.ndarray], max_faces: int | None = None) -> Tracking:
    """Vote on the number of faces and keep the longest tracks, as many as were voted (or as there are).

    `detections` holds one [N, 5] array per frame, best score first, as the detector returns them. `max_faces` limits
    the tracks kept (inference: 2). Of equally long tracks the earlier comes first.
    """
    boxes = [tracking_boxes(frame) for frame in detections]
    counts = [len(frame) for frame in boxes]
    faces = voted_faces(counts)
    tracks = sorted(link_tracks(boxes), key=len, reverse=True)[:faces]
    return Tracking(faces, counts.count(faces), tracks[:max_faces])


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
