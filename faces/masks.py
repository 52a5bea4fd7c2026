"""What is known of a video's faces before it is looked at: boxes of another video with the same frames, a mask.

A fake has the frames of its original, so that the original's boxes fit it. A mask is a video with the same frames,
white where the face was changed; of several faces it tells which one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from common.errors import BadInputError
from common.files import atomic_file
from common.spread import spread
from faces.boxes import iou_plus_one, tracking_boxes
from faces.one_pass import Faces
from faces.video import VideoInfo, probe, read_some

CHECKED = 5  # frames of which a video's own boxes are compared with those that it takes over
ALIKE = 0.9  # IoU of boxes that are good enough to be taken over; of equal ones it is 1
MASKED = 16  # frames, spread over the video, in which masks are looked at
MARKED = 32  # grey of a mask's pixel that marks a change: compression leaves traces below
OVERLAPS = 0.1  # share of the marked pixels that must lie in a face

Boxes = Mapping[int, np.ndarray]  # [N, 5] by the number of the frame, as faces.detector gives them


@dataclass(frozen=True)
class Known:
    """Files about one video; None where there is none."""

    mask: Path | None = None
    boxes: Path | None = None  # to take over
    keep_boxes: Path | None = None  # to write its own


NOTHING = Known()


def write_boxes(path: Path, faces: Faces, frames: int) -> None:
    """Write the boxes of a video that shows so many frames, atomically, as `.npz`."""
    lengths = np.array([len(boxes) for boxes in faces.detections])
    together = np.concatenate(faces.detections) if len(lengths) else np.empty((0, 5), np.float32)
    shape = np.array([frames, faces.info.height, faces.info.width])
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, shape=shape, numbers=np.array(faces.numbers), lengths=lengths, boxes=together)


def read_boxes(path: Path, info: VideoInfo) -> tuple[Boxes, str]:
    """The boxes of a file, for a video; none, and why, if they are not of a video with as many frames and its size."""
    if not path.is_file():
        return {}, "its original has none"
    with np.load(path, allow_pickle=False) as content:
        shape, numbers = content["shape"].tolist(), content["numbers"].tolist()
        boxes = np.split(content["boxes"], np.cumsum(content["lengths"])[:-1])
    if shape[0] != info.frames:
        return {}, "another number of frames than its original"
    if shape[1:] != [info.height, info.width]:
        return {}, "another size than its original"
    return dict(zip(numbers, boxes, strict=True)), ""


def without_checked(boxes: Boxes) -> Boxes:
    """The boxes but those of CHECKED frames, spread over the video, which are to be found anew."""
    numbers = sorted(boxes)
    checked = {numbers[at] for at in spread(len(numbers), CHECKED)} if numbers else set()
    return {number: boxes[number] for number in numbers if number not in checked}


def agreement(faces: Faces, boxes: Boxes) -> float:
    """The least IoU of a box that was found in a video with one of these, over all frames that both have."""
    return min(
        (
            overlap(tracking_boxes(found), tracking_boxes(boxes[number]))
            for number, found in zip(faces.numbers, faces.detections, strict=True)
            if number in boxes
        ),
        default=0.0,
    )


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """The least IoU of a box with the nearest of others; 0 if they are not as many, 1 if there are none."""
    if len(one) != len(other):
        return 0.0
    return min((float(iou_plus_one(box[:4], other[:, :4]).max()) for box in one), default=1.0)


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
