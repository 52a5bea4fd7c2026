"""A video as others might pass it on: smaller, compressed, cropped, mirrored, slower. `--stability` scores these too.

Only the squares around the faces are recoded, in memory, and only in the frames that the image members see: a square is
compressed as its part of a whole frame would be, at the same constant rate factor. Faces are detected once, because a
smaller, mirrored or slower video has them in the same places. Only where the border is cut off are they detected again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from common.h264 import encode_h264
from common.images import resize
from faces.boxes import iou_plus_one, tracking_boxes
from faces.crops import align_track
from faces.one_pass import Detector, Faces, Regions
from faces.tracking import SAME_FACE_IOU, Detection, Track, fill_track
from inference.members import CropKind, frames_seen
from inference.sampling.look import Kept, conditions_of, middle
from inference.sampling.sampled import Face, Perturbed
from inference.scoring import image_frames

Squares = list[np.ndarray]  # of one face, BGR uint8 [S, S, 3], all of one size
Box = tuple[int, int, int, int]
DEFAULT_CRF = 23  # x264's default constant rate factor, with which most programs write videos
KEPT_BYTES = 256 << 20
CUT_OFF = 0.05  # of the width or height, on each side


class Recoding(NamedTuple):
    """A way to recode a video: scale, H.264's constant rate factor, whether left and right are swapped."""

    scale: float = 1.0
    crf: int = DEFAULT_CRF
    mirrored: bool = False


RECODINGS = {
    "H.264 at crf 28": Recoding(crf=28),
    "H.264 at crf 35": Recoding(crf=35),
    "half size": Recoding(scale=0.5),
    "mirrored": Recoding(mirrored=True),
}
HALF_RATE, BORDER_CUT = "half the rate", "border cut off"
NAMES = (*RECODINGS, HALF_RATE, BORDER_CUT)


def recode(images: Sequence[np.ndarray], recoding: Recoding) -> Squares:
    """Images of one size, BGR uint8 [H, W, 3], after a recoding."""
    return encode_h264([change(image, recoding) for image in images], recoding.crf)


def change(image: np.ndarray, recoding: Recoding) -> np.ndarray:
    """A frame, BGR uint8 [H, W, 3], scaled and mirrored by a recoding, not yet compressed. Scaled sides are even."""
    if recoding.scale != 1:
        height, width = (max(round(length * recoding.scale) // 2 * 2, 2) for length in image.shape[:2])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image[:, ::-1]) if recoding.mirrored else image


def half_rate(frames: int) -> list[int]:
    """Which of the sampled frames the image members see when every second frame is missing."""
    return [2 * frame for frame in image_frames((frames + 1) // 2)]


def frames_needed(faces: Faces) -> list[int]:
    """The sampled frames whose squares the perturbed versions are made from."""
    still = faces.info.still
    return sorted({*frames_seen("image", faces.frames, still), *([] if still else half_rate(faces.frames))})


def perturbed_faces(
    faces: Faces, plain: list[Face], kept: Kept, kinds: Set[CropKind], detector: Detector
) -> dict[str, Perturbed]:
    """The perturbed versions of a video, by name: those for which all faces have crops.

    `plain` are the video's faces as they are; `kept` holds their squares in the frames of `frames_needed`.
    """
    seen = frames_seen("image", faces.frames, faces.info.still)
    by_face = [perturbed_squares(squares, seen, faces) for squares in kept.squares]
    if seen:
        images = (image for _, image in faces.reread({faces.numbers[frame] for frame in seen}))
        filled = [fill_track(face.track, faces.frames) for face in plain]
        boxes = [[track[frame] for frame in seen] for track in filled]
        for versions, squares in zip(by_face, border_cut(images, boxes, detector.detect), strict=True):
            versions[BORDER_CUT] = squares
    return {
        name: with_squares(plain, [versions[name] for versions in by_face], kinds, faces.info.bits_per_pixel)
        for name in NAMES
        if all(versions.get(name) for versions in by_face)
    }


def with_squares(
    plain: list[Face], squares: Sequence[Squares], kinds: Set[CropKind], bits_per_pixel: float
) -> Perturbed:
    """The faces `plain` with crops from other squares, for the image members."""
    image_kinds = [kind for kind in kinds if kind.branch == "image"]
    faces = [
        replace(
            face,
            crops={
                kind: np.stack([resize(middle(square, kind.crop_fraction), kind.side) for square in of_face])
                for kind in image_kinds
            },
            squares=[square._replace(size=len(of_face[0])) for square in face.squares],
        )
        for face, of_face in zip(plain, squares, strict=True)
    ]
    return Perturbed(faces, conditions_of([face for face in faces if face.decides], bits_per_pixel))


def perturbed_squares(squares: Mapping[int, np.ndarray], seen: list[int], faces: Faces) -> dict[str, Squares]:
    """A face's squares in all versions but BORDER_CUT, from its squares, BGR uint8 [side, side, 3], by sampled frame.

    `seen` are the frames used. If there are too few, some versions are missing.
    """
    versions = {
        name: recode([squares[frame] for frame in seen], recoding) for name, recoding in RECODINGS.items() if seen
    }
    if not faces.info.still and (slower := half_rate(faces.frames)):
        versions[HALF_RATE] = encode_h264([squares[frame] for frame in slower], DEFAULT_CRF)
    return versions


def border_cut(
    images: Iterable[np.ndarray], boxes: Sequence[Track], detect: Callable[[list[np.ndarray]], list[np.ndarray]]
) -> list[Squares]:
    """Each face's squares in frames, BGR uint8 [H, W, 3], whose border is cut off and faces detected again.

    `boxes` holds each face's detection in each of the frames; it is used where no face is detected again. A face that
    grows so fast that its pixels were not kept has no squares.
    """
    tracks: list[Track] = [[] for _ in boxes]
    regions = [Regions(KEPT_BYTES) for _ in boxes]
    height = width = 0
    for frame, image in enumerate(images):
        down, across = (round(length * CUT_OFF) for length in image.shape[:2])
        inside = np.ascontiguousarray(image[down : image.shape[0] - down, across : image.shape[1] - across])
        height, width = inside.shape[:2]
        detected = tracking_boxes(detect([inside])[0])[:, :4]
        for track, detections, region in zip(tracks, boxes, regions, strict=True):
            box = nearest(moved(detections[frame].box, across, down, height, width), detected)
            track.append(Detection(frame, box, 1.0))
            region.keep(frame, inside, np.array([[*box, 1.0]], np.float32))
    squares = []
    for track, region in zip(tracks, regions, strict=True):
        places = align_track(track, width, height)
        cuts = [region.cut(frame, place) for frame, place in enumerate(places)]
        complete = [cut for cut in cuts if cut is not None]
        squares.append(encode_h264(complete, DEFAULT_CRF) if len(complete) == len(cuts) else [])
    return squares


def moved(box: Box, across: int, down: int, height: int, width: int) -> Box:
    """A box of a frame after the border was cut off by `across` and `down` pixels; at least a pixel stays inside.

    `height` and `width` are those of the smaller frame.
    """
    x1, y1 = min(max(box[0] - across, 0), width - 2), min(max(box[1] - down, 0), height - 2)
    return x1, y1, max(min(box[2] - across, width - 1), x1 + 1), max(min(box[3] - down, height - 1), y1 + 1)


def nearest(box: Box, detected: np.ndarray) -> Box:
    """The detected box, of [N, 4], that shows the same face as `box`; `box` itself if none does."""
    if len(detected):
        overlaps = iou_plus_one(np.array(box), detected)
        best = int(overlaps.argmax())
        if overlaps[best] >= SAME_FACE_IOU:
            x1, y1, x2, y2 = (int(value) for value in detected[best])
            return x1, y1, x2, y2
    return box
