"""A clip as it would come out of other hands: what `--stability` scores besides the clip as it is.

Only the squares around the faces are recoded, in memory, and only in the frames that the image members see: a square is
compressed as its part of a whole frame is, at the same constant rate factor. Faces are looked for once, because a
smaller, mirrored or slower clip has them at the same places. In one whose border is cut off they are looked for again.
"""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import av
import cv2
import numpy as np

from faces.boxes import iou_plus_one, tracking_boxes
from faces.crops import align_track
from faces.regions import Regions
from faces.tracking import SAME_FACE_IOU, Detection, Track
from inference.sampling.sampled import frames_of
from inference.scoring import image_frames

Squares = list[np.ndarray]  # one face's, BGR uint8 [S, S, 3], all of one size
GOOD = 23  # x264's default constant rate factor: how most programs write a clip
KEPT_BYTES = 256 << 20
CUT_OFF = 0.05  # of each border: a tenth of the width and of the height


class Form(NamedTuple):
    """A form of a clip: scale, H.264's constant rate factor, whether left and right change places."""

    name: str
    scale: float = 1.0
    crf: int = GOOD
    mirrored: bool = False


RECODED = (
    Form("H.264 at crf 28", crf=28),
    Form("H.264 at crf 35", crf=35),
    Form("half size", scale=0.5),
    Form("mirrored", mirrored=True),
)
HALF_RATE, BORDER_CUT = "half the rate", "border cut off"
NAMES = (*(form.name for form in RECODED), HALF_RATE, BORDER_CUT)


@dataclass(frozen=True)
class FormRow:
    """How a form of a video scores: its label, what that is called, and its false-positive rate."""

    name: str
    label: float | None
    verdict: str
    false_positive_rate: float | None


def recode(images: Sequence[np.ndarray], crf: int) -> Squares:
    """Images of one size, BGR uint8, after H.264, without an odd last row or column."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "veryfast"})
        height, width = (length // 2 * 2 for length in images[0].shape[:2])
        stream.pix_fmt, stream.height, stream.width = "yuv420p", height, width
        stream.codec_context.thread_count = 1
        for image in images:
            whole = np.ascontiguousarray(image[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(whole, format="bgr24")))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def formed(squares: Squares, form: Form) -> Squares:
    """A face's squares in a form."""
    if form.scale != 1:
        side = max(round(len(squares[0]) * form.scale) // 2 * 2, 2)
        squares = [cv2.resize(one, (side, side), interpolation=cv2.INTER_AREA) for one in squares]
    if form.mirrored:
        squares = [np.ascontiguousarray(one[:, ::-1]) for one in squares]
    return recode(squares, form.crf)


def half_rate(frames: int) -> list[int]:
    """Which of the sampled frames the image members see if every second frame is missing."""
    return [2 * frame for frame in image_frames((frames + 1) // 2)]


def needed(frames: int, still: bool) -> list[int]:
    """The sampled frames of which the forms need squares."""
    return sorted({*frames_of("image", frames, still), *([] if still else half_rate(frames))})


def forms_of(squares: Mapping[int, np.ndarray], frames: int, still: bool) -> dict[str, Squares]:
    """A face's squares in every form but the cut one, from its squares by sampled frame; of few frames fewer forms."""
    seen = frames_of("image", frames, still)
    found = {form.name: formed([squares[frame] for frame in seen], form) for form in RECODED if seen}
    if not still and (slower := half_rate(frames)):
        found[HALF_RATE] = recode([squares[frame] for frame in slower], GOOD)
    return found


def border_cut(
    images: Iterable[np.ndarray], boxes: Sequence[Track], detect: Callable[[list[np.ndarray]], list[np.ndarray]]
) -> list[Squares]:
    """Each face's squares in frames, BGR uint8, whose border is cut off and in which faces are looked for again.

    `boxes` holds each face's detection in each of the frames; it stands in, moved, where no face is found there. A face
    that grows so fast that its pixels were not kept has no squares.
    """
    tracks: list[Track] = [[] for _ in boxes]
    regions = [Regions(KEPT_BYTES) for _ in boxes]
    height = width = 0
    for at, image in enumerate(images):
        down, across = (round(length * CUT_OFF) for length in image.shape[:2])
        inside = np.ascontiguousarray(image[down : image.shape[0] - down, across : image.shape[1] - across])
        height, width = inside.shape[:2]
        found = tracking_boxes(detect([inside])[0])[:, :4]
        for track, mine, region in zip(tracks, boxes, regions, strict=True):
            box = nearest(moved(mine[at].box, across, down, height, width), found)
            track.append(Detection(at, box, 1.0))
            region.keep(at, inside, np.array([[*box, 1.0]], np.float32))
    squares = []
    for track, region in zip(tracks, regions, strict=True):
        places = align_track(track, width, height)
        cuts = [region.cut(at, place) for at, place in enumerate(places)]
        whole = [one for one in cuts if one is not None]
        squares.append(recode(whole, GOOD) if len(whole) == len(cuts) else [])
    return squares


def moved(box: tuple[int, int, int, int], across: int, down: int, height: int, width: int) -> tuple[int, int, int, int]:
    """A box in a frame whose border is cut off, at least a pixel of it inside."""
    x1, y1 = min(max(box[0] - across, 0), width - 2), min(max(box[1] - down, 0), height - 2)
    return x1, y1, max(min(box[2] - across, width - 1), x1 + 1), max(min(box[3] - down, height - 1), y1 + 1)


def nearest(box: tuple[int, int, int, int], found: np.ndarray) -> tuple[int, int, int, int]:
    """The box of those found that is the same face, or the box itself."""
    if len(found):
        overlaps = iou_plus_one(np.array(box), found)
        best = int(overlaps.argmax())
        if overlaps[best] >= SAME_FACE_IOU:
            x1, y1, x2, y2 = (int(value) for value in found[best])
            return x1, y1, x2, y2
    return box


def said_of(label: float, verdict: str, forms: Sequence[FormRow]) -> str:
    """How far the score moves over the forms, and whether the verdict stands, in a sentence."""
    values = [label, *(one.label for one in forms if one.label is not None)]
    flips = [f"{one.name}: {one.verdict}" for one in forms if one.verdict != verdict]
    stands = "the verdict stands in all" if not flips else "the verdict does not stand: " + ", ".join(flips)
    return f"between {min(values):.2f} and {max(values):.2f} in {len(forms)} other forms; {stands}"
