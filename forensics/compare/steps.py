"""From two files to a comparison: the common stretch, the place in the picture, the scores, the differences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from common.errors import BadInputError
from common.spread import spread
from common.status import UNREADABLE
from faces.boxes import iou_plus_one
from forensics.compare.clips import Clip, read_clip
from forensics.compare.differences import Differences, compare
from forensics.compare.in_picture import Placement, corners, place_any, place_pairs, simple_placements, transform
from forensics.compare.in_time import (
    NoCommonMomentError,
    Offset,
    common_part,
    find_offset,
    nearest_index,
    same_moment,
)
from forensics.compare.overlay import Box, Levels, best_placement
from inference.results import FaceResult, Result
from inference.scorer import Scorer

FIRST_SUSPECTS, FIRST_ORIGINALS = 3, 8  # frames of each that are tried to find the place in the picture
COARSE = 16  # pixels: side of the copies by which frames are first compared
EXACT_PAIRS = 8  # pairs of frames that give the exact place
MOMENTS = 60  # compared pixel by pixel, at most
SAME_FACE = 0.3  # mean IoU of the boxes, at least
SCORING = "scoring both"
STAGES = ("reading both clips", "looking for the same picture", "finding the offset", SCORING, "comparing")


@dataclass(frozen=True)
class Alignment:
    """How two clips lie over each other: in time, in the picture, and in brightness."""

    suspect: Clip
    original: Clip
    offset: Offset
    placement: Placement
    levels: Levels

    @property
    def stretch(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """From when to when the common frames are shown, in the suspect and in the original, in seconds."""
        (first, original_first), (last, original_last) = self.offset.pairs[0], self.offset.pairs[-1]
        ours, theirs = self.suspect.times, self.original.times
        return (float(ours[first]), float(ours[last])), (float(theirs[original_first]), float(theirs[original_last]))

    @property
    def shown(self) -> Box:
        """The part of the original's picture that the suspect shows, in the original's pixels."""
        info, original = self.suspect.info, self.original.info
        back = np.linalg.inv(np.vstack([self.placement.matrix, [0, 0, 1]]))[:2]
        outer = transform(corners(info.width, info.height) - 0.5, back) + 0.5
        x1, y1 = np.clip(outer.min(axis=0).round(), 0, (original.width, original.height))
        x2, y2 = np.clip(outer.max(axis=0).round(), 0, (original.width, original.height))
        return int(x1), int(y1), int(x2), int(y2)


@dataclass(frozen=True)
class Comparison:
    """What two clips have in common and what differs; `results` are those of suspect and original.

    `same_face` holds for each face of the suspect the index of the original's face in its place, or None.
    """

    alignment: Alignment
    results: tuple[Result, Result]
    differences: Differences
    same_face: list[int | None]


def compare_files(
    suspect: Path, original: Path, scorer: Scorer, on_stage: Callable[[str], None] = lambda stage: None
) -> Comparison:
    """Compare two videos or still images. `on_stage` is called with each of STAGES when it begins.

    Raises BadInputError if a file cannot be read, NoCommonMomentError if the two have no stretch in common.
    """
    stages = iter(STAGES)
    on_stage(next(stages))
    clips = read_clip(suspect), read_clip(original)
    on_stage(next(stages))
    placement = first_placement(*clips)
    on_stage(next(stages))
    alignment = align(*clips, placement)
    on_stage(next(stages))
    results = score_both(suspect, original, scorer)
    on_stage(next(stages))
    return compare_aligned(alignment, results)


def score_both(suspect: Path, original: Path, scorer: Scorer) -> tuple[Result, Result]:
    """The results of both clips. Raises BadInputError if one cannot be read."""
    results = scorer.score(suspect), scorer.score(original)
    for result in results:
        if result.status in UNREADABLE:
            raise BadInputError(f"{result.path}: {result.status}: {result.reason}")
    return results


def first_placement(suspect: Clip, original: Clip) -> Placement:
    """Where the original lies in the suspect's picture, by the frames of both that look most alike.

    Raises NoCommonMomentError if no two frames show the same picture.
    """
    frames = suspect.kept[spread(len(suspect.kept), FIRST_SUSPECTS)]
    evenly = spread(len(original.times), FIRST_ORIGINALS).tolist()
    original_frames = sorted({*evenly, *most_alike(suspect, original, FIRST_SUSPECTS)})
    placement = place_any(list(suspect.frames(frames)), original.frames(original_frames))
    if placement is None:
        raise NoCommonMomentError("no two of their frames show the same picture, not even scaled, cropped or mirrored")
    return placement


def most_alike(suspect: Clip, original: Clip, count: int) -> list[int]:
    """Numbers of the original's frames that look most like `count` frames of the suspect, as they are or mirrored."""
    ours, theirs = coarse(suspect.small), coarse(original.small)
    ours = ours[spread(len(ours), count)]
    flat = theirs.reshape(len(theirs), -1).T
    best = [(copies.reshape(len(copies), -1) @ flat).argmax(axis=1) for copies in (ours, ours[..., ::-1])]
    return original.kept[np.unique(best)].tolist()


def coarse(small: np.ndarray) -> np.ndarray:
    """Small copies [N, h, w] as float32 [N, COARSE, COARSE] with mean 0 and length 1."""
    copies = [cv2.resize(copy, (COARSE, COARSE), interpolation=cv2.INTER_AREA) for copy in small]
    values = np.stack(copies).astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    return values / np.maximum(np.sqrt((values**2).sum(axis=(1, 2), keepdims=True)), 1e-6)


def align(suspect: Clip, original: Clip, first: Placement) -> Alignment:
    """Lay two clips over each other: the offset by a first placement, the exact placement by it, then the exact offset.

    Raises NoCommonMomentError if they do not show the same moments.
    """
    near = find_offset(suspect, original, common_part(suspect, original, first.matrix))
    placement, levels = exact_placement(suspect, original, near, first)
    if suspect.has_gaps or original.has_gaps:
        suspect, original = suspect.between(near.pairs[:, 0]), original.between(near.pairs[:, 1])
    common = common_part(suspect, original, placement.matrix)
    offset = same_moment(suspect, original, common, find_offset(suspect, original, common))
    if not np.array_equal(offset.pairs, near.pairs):
        placement, levels = exact_placement(suspect, original, offset, placement)
    return Alignment(suspect, original, offset, placement, levels)


def exact_placement(suspect: Clip, original: Clip, offset: Offset, near: Placement) -> tuple[Placement, Levels]:
    """Where the original lies, and how bright it is, by frames that show the same moments."""
    pairs = offset.pairs[spread(len(offset.pairs), EXACT_PAIRS)]
    frames = list(suspect.frames(pairs[:, 0])), list(original.frames(pairs[:, 1]))
    fitted = place_pairs(*frames, near.mirrored) or near
    sizes = [(clip.info.width, clip.info.height) for clip in (suspect, original)]
    return best_placement([fitted, *simple_placements(fitted, *sizes)], *frames)


def compare_aligned(alignment: Alignment, results: tuple[Result, Result]) -> Comparison:
    """Compare up to MOMENTS of the common stretch, if possible those at which faces were detected."""
    suspect, original = alignment.suspect, alignment.original
    faces, original_faces = (result.faces for result in results)
    pairs = alignment.offset.pairs[moments_of(suspect, faces, alignment.offset.pairs)]
    times = suspect.times[pairs[:, 0]]
    boxes = [boxes_at(face, times, suspect.frame_seconds) for face in faces]
    differences = compare(
        suspects=suspect.frames(pairs[:, 0]),
        originals=original.frames(pairs[:, 1]),
        times=[round(float(time), 3) for time in times],
        boxes=boxes,
        hidden=[nearest_boxes(face, times) for face in faces],
        placement=alignment.placement,
        levels=alignment.levels,
    )
    original_times = original.times[pairs[:, 1]]
    original_boxes = [boxes_at(face, original_times, detection_interval(face, original)) for face in original_faces]
    same = [same_face(of_face, original_boxes, alignment.placement.matrix) for of_face in boxes]
    return Comparison(alignment, results, differences, same)


def moments_of(suspect: Clip, faces: Sequence[FaceResult], pairs: np.ndarray) -> np.ndarray:
    """Which of the pairs, int [N, 2], to compare: indices of pairs at which a face was detected or, if none, of any."""
    times = suspect.times[pairs[:, 0]]
    detected = np.unique([time for face in faces for time in face.times])
    if len(detected):
        nearest = detected[nearest_index(detected, times)]
        with_face = np.flatnonzero(np.abs(nearest - times) <= max(suspect.frame_seconds / 2, 1e-3))
        if len(with_face):
            return with_face[spread(len(with_face), MOMENTS)]
    return spread(len(pairs), MOMENTS)


def detection_interval(face: FaceResult, clip: Clip) -> float:
    """The seconds from one detection of a face to the next: more than a frame where only some frames were sampled."""
    return max(clip.frame_seconds, float(np.median(np.diff(face.times))) if len(face.times) > 1 else 0.0)


def boxes_at(face: FaceResult, times: np.ndarray, reach: float) -> list[Box | None]:
    """A face's box at each of the times [N], in seconds; None where it was not detected within `reach` seconds."""
    known = np.array(face.times)
    near = np.abs(known[nearest_index(known, times)] - times) <= max(reach, 1e-3)
    return [box if is_near else None for box, is_near in zip(nearest_boxes(face, times), near, strict=True)]


def nearest_boxes(face: FaceResult, times: np.ndarray) -> list[Box]:
    """A face's box at each of the times [N], in seconds, or the nearest in time."""
    return [face.boxes[index] for index in nearest_index(np.array(face.times), times)]


def same_face(boxes: list[Box | None], candidates: list[list[Box | None]], matrix: np.ndarray) -> int | None:
    """The index of the original's face, of the candidates' boxes, that lies where a face of the suspect has its boxes.

    None if no candidate does; `matrix` [2, 3] maps the original's pixels to the suspect's.
    """
    best, best_overlap = None, SAME_FACE
    for index, candidate in enumerate(candidates):
        overlaps = [
            float(iou_plus_one(np.array(box), in_suspect(original_box, matrix)[None])[0])
            for box, original_box in zip(boxes, candidate, strict=True)
            if box is not None and original_box is not None
        ]
        if overlaps and np.mean(overlaps) > best_overlap:
            best, best_overlap = index, float(np.mean(overlaps))
    return best


def in_suspect(box: Box, matrix: np.ndarray) -> np.ndarray:
    """A box of the original in the suspect's pixels, float [4]."""
    x1, y1, x2, y2 = box
    outer = transform(np.array([[x1, y1], [x2, y1], [x1, y2], [x2, y2]], float), matrix)
    return np.concatenate([outer.min(axis=0), outer.max(axis=0)])
