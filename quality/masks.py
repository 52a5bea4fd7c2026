"""A mask video tells which of several faces was changed: it has a fake's frames, white where the face was changed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from common.errors import BadInputError
from common.spread import spread
from faces.one_pass import Faces
from faces.video import probe, read_some

MASKED = 16  # frames, spread over the video, in which masks are looked at
MARKED = 32  # grey of a mask's pixel that marks a change: compression leaves traces below
OVERLAPS = 0.1  # share of the marked pixels that must lie in a face


@dataclass(frozen=True)
class ByMask:
    """Chooses the face that a mask video marks (see `inference.sampling.look.Choose`)."""

    mask: Path
    others: int = 4  # faces beyond those of the reference among which the mask chooses

    def __call__(self, faces: Faces, most: int) -> tuple[Faces, dict[str, str]]:
        """The face that the mask marks, alone, or those that are scored without a mask; and what became of the mask."""
        track, why_not = face_by_mask(faces, self.mask)
        if track is not None:
            chosen = only(faces, [track])
            return replace(chosen, tracking=chosen.tracking._replace(chosen=1)), {"mask": "used"}
        return only(faces, range(min(most, len(faces.tracking.tracks)))), {"mask": why_not}


def face_by_mask(faces: Faces, mask: Path) -> tuple[int | None, str]:
    """Which track the mask marks; None and why if it cannot be told."""
    at = spread(len(faces.numbers), MASKED).tolist()
    places = {faces.numbers[place]: place for place in at}
    overlaps = np.zeros((len(faces.tracking.tracks), len(at)))
    seen = 0
    try:
        for number, image in read_some(mask, probe(mask), places):
            grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) >= MARKED
            if grey.any():
                overlaps[:, seen] = shares(faces, places[number], grey)
                seen += 1
    except (BadInputError, OSError):
        return None, "the mask cannot be read"
    if not seen:
        return None, "the mask marks nothing"
    means = overlaps[:, :seen].mean(axis=1) if len(overlaps) else np.zeros(1)
    best = int(means.argmax())
    return (best, "") if means[best] >= OVERLAPS else (None, "the mask marks no face")


def shares(faces: Faces, frame: int, marked: np.ndarray) -> list[float]:
    """Which share of the marked pixels of a frame, bool [H, W], each track's box there holds; 0 where it has none."""
    down, across = marked.shape[0] / faces.info.height, marked.shape[1] / faces.info.width
    found, whole = [], marked.sum()
    for track in faces.tracking.tracks:
        box = next((seen.box for seen in track if seen.frame == frame), None)
        scaled = zip(box or (0, 0, 0, 0), (across, down, across, down), strict=True)
        x1, y1, x2, y2 = (max(round(value * by), 0) for value, by in scaled)
        found.append(float(marked[y1:y2, x1:x2].sum() / whole))
    return found


def only(faces: Faces, tracks: Sequence[int]) -> Faces:
    """The faces with these tracks alone, in this order; the first stand for those that the contract keeps."""
    place = {track: at for at, track in enumerate(tracks)}
    kept = [faces.tracking.tracks[track] for track in tracks]
    crops = {
        frame: [crop._replace(face=place[crop.face]) for crop in of_frame if crop.face in place]
        for frame, of_frame in faces.crops.items()
    }
    return replace(
        faces,
        tracking=faces.tracking._replace(tracks=kept, chosen=min(faces.tracking.chosen, len(kept))),
        squares=[faces.squares[track] for track in tracks],
        crops={frame: of_frame for frame, of_frame in crops.items() if of_frame},
    )
