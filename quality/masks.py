"""Mask videos: which of several faces was changed. A mask video has a fake's frames, white where a face was changed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from common.errors import BadInputError
from common.spread import spread
from faces.one_pass import Faces
from faces.video import probe, read_some

MASK_FRAMES = 16  # of the mask video are looked at, spread over it
MARKED = 32  # grey level from which a pixel marks a change: compression leaves traces below
LEAST_SHARE = 0.1  # of the marked pixels that must lie in a face


@dataclass(frozen=True)
class MaskChoice:
    """Chooses the face that a mask video marks (an `inference.sampling.look.Choose`)."""

    mask: Path
    others: int = 4  # faces, beyond those of the reference, among which the mask chooses

    def __call__(self, faces: Faces, most: int) -> tuple[Faces, dict[str, str]]:
        """The marked face alone, or, if the mask marks none, the first `most` faces; and what became of the mask."""
        track, problem = marked_track(faces, self.mask)
        if track is not None:
            chosen = only(faces, [track])
            return replace(chosen, tracking=chosen.tracking._replace(chosen=1)), {"mask": "used"}
        return only(faces, range(min(most, len(faces.tracking.tracks)))), {"mask": problem}


def marked_track(faces: Faces, mask: Path) -> tuple[int | None, str]:
    """The index of the track that the mask marks; or None, and why it marks none."""
    indices = spread(len(faces.numbers), MASK_FRAMES).tolist()
    index_of = {faces.numbers[index]: index for index in indices}
    shares = []
    try:
        for number, image in read_some(mask, probe(mask), index_of):
            marked = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) >= MARKED
            if marked.any():
                shares.append(marked_shares(faces, index_of[number], marked))
    except (BadInputError, OSError):
        return None, "the mask cannot be read"
    if not shares:
        return None, "the mask marks nothing"
    means = np.mean(shares, axis=0) if faces.tracking.tracks else np.zeros(1)
    best = int(means.argmax())
    return (best, "") if means[best] >= LEAST_SHARE else (None, "the mask marks no face")


def marked_shares(faces: Faces, frame: int, marked: np.ndarray) -> list[float]:
    """The share of a frame's marked pixels, bool [H, W] with one at least, in each track's box; 0 without a box.

    `frame` is the index of a sampled frame. The mask may have another size than the video.
    """
    down, across = marked.shape[0] / faces.info.height, marked.shape[1] / faces.info.width
    shares, total = [], marked.sum()
    for track in faces.tracking.tracks:
        box = next((detection.box for detection in track if detection.frame == frame), (0, 0, 0, 0))
        scaled = zip(box, (across, down, across, down), strict=True)
        x1, y1, x2, y2 = (max(round(value * factor), 0) for value, factor in scaled)
        shares.append(float(marked[y1:y2, x1:x2].sum() / total))
    return shares


def only(faces: Faces, tracks: Sequence[int]) -> Faces:
    """The faces with only the tracks of these indices, in this order; the first ones are those that count as chosen."""
    position = {track: index for index, track in enumerate(tracks)}
    kept = [faces.tracking.tracks[track] for track in tracks]
    crops = {
        frame: [crop._replace(face=position[crop.face]) for crop in of_frame if crop.face in position]
        for frame, of_frame in faces.crops.items()
    }
    return replace(
        faces,
        tracking=faces.tracking._replace(tracks=kept, chosen=min(faces.tracking.chosen, len(kept))),
        squares=[faces.squares[track] for track in tracks],
        crops={frame: of_frame for frame, of_frame in crops.items() if of_frame},
    )
