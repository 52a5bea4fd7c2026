"""From two files to what the comparison found: the common stretch, the place in the picture, scores, differences."""

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
from forensics.compare.in_picture import Placed, best_place, moved, place, simple_maps
from forensics.compare.in_time import Offset, find_offset, lay, nearest_of, same_moment
from forensics.compare.overlay import Box, Levels, best_of
from inference.results import FaceResult, Result
from inference.scorer import Scorer

FIRST_LOOK = 3, 8  # frames of the suspect and of the original by which the place in the picture is looked for
COARSE = 16  # pixels: the side of the copies by which frames are first compared
EXACT_LOOK = 8  # pairs of frames by which it is found
MOMENTS = 60  # compared pixel by pixel, at most
SAME_FACE = 0.3  # IoU of the boxes, on the average
STAGES = ("reading both clips", "looking for the same picture", "finding the offset", "scoring both", "comparing")


@dataclass(frozen=True)
class Comparison:
    """What two clips have in common and what differs.

    `same_face` holds for each face of the suspect the index of the original's face that lies in its place, or None.
    """

    suspect: Clip
    original: Clip
    results: tuple[Result, Result]
    offset: Offset
    placed: Placed
    levels: Levels
    differences: Differences
    same_face: list[int | None]

    @property
    def stretch(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """From when to when the common frames are shown, in the suspect and in the original, in seconds."""
        first, last = self.offset.pairs[0], self.offset.pairs[-1]
        here, there = self.suspect.times, self.original.times
        return (float(here[first[0]]), float(here[last[0]])), (float(there[first[1]]), float(there[last[1]]))

    @property
    def shown(self) -> Box:
        """The part of the original's picture that the suspect shows, in the original's pixels."""
        info, own = self.suspect.info, self.original.info
        corners = np.array([[0, 0], [info.width, 0], [0, info.height], [info.width, info.height]], float) - 0.5
        back = moved(corners, np.linalg.inv(np.vstack([self.placed.matrix, [0, 0, 1]]))[:2]) + 0.5
        x1, y1 = np.clip(back.min(axis=0).round(), 0, (own.width, own.height))
        x2, y2 = np.clip(back.max(axis=0).round(), 0, (own.width, own.height))
        return int(x1), int(y1), int(x2), int(y2)


def compare_files(
    suspect: Path, original: Path, scorer: Scorer, on_stage: Callable[[str], None] = lambda stage: None
) -> Comparison:
    """Compare two videos or pictures; `on_stage` is told each of STAGES when it begins.

    Raises BadInputError if one cannot be read, or if they have no stretch in common, saying what was missing.
    """
    stages = iter(STAGES)
    on_stage(next(stages))
    ours, theirs = read_clip(suspect), read_clip(original)
    try:
        on_stage(next(stages))
        first = first_place(ours, theirs)
        on_stage(next(stages))
        near = find_offset(ours, theirs, lay(ours, theirs, first.matrix))
        placed, levels = exact_place(ours, theirs, near, first)
        if ours.has_gaps or theirs.has_gaps:
            ours, theirs = ours.near(near.pairs[:, 0]), theirs.near(near.pairs[:, 1])
        laid = lay(ours, theirs, placed.matrix)
        offset = same_moment(ours, theirs, laid, find_offset(ours, theirs, laid))
        if not np.array_equal(offset.pairs, near.pairs):
            placed, levels = exact_place(ours, theirs, offset, placed)
    except BadInputError as error:
        raise BadInputError(f"{suspect.name} and {original.name} have no stretch in common: {error}") from error
    on_stage(next(stages))
    results = scorer.score(suspect), scorer.score(original)
    for result in results:
        if result.status in UNREADABLE:
            raise BadInputError(f"{result.path}: {result.status}: {result.reason}")
    on_stage(next(stages))
    return differences_of(ours, theirs, results, offset, placed, levels)


def first_place(suspect: Clip, original: Clip) -> Placed:
    """Where the original lies in the suspect's picture, by the frames of both that look most alike."""
    count, own_count = FIRST_LOOK
    frames = suspect.kept[spread(len(suspect.kept), count)]
    own = {*spread(len(original.times), own_count).tolist(), *alike(suspect, original, count)}
    found = best_place(list(suspect.frames(frames)), original.frames(sorted(own)))
    if found is None:
        raise BadInputError("no two of their frames show the same picture, be it scaled, cropped or mirrored")
    return found


def alike(suspect: Clip, original: Clip, count: int) -> list[int]:
    """The original's frames that look most like so many of the suspect's, as they are or mirrored."""
    ours, theirs = (coarse(clip.small) for clip in (suspect, original))
    ours = ours[spread(len(ours), count)]
    best = [
        (looks.reshape(len(looks), -1) @ theirs.reshape(len(theirs), -1).T).argmax(axis=1)
        for looks in (ours, ours[..., ::-1])
    ]
    return original.kept[np.unique(best)].tolist()


def coarse(small: np.ndarray) -> np.ndarray:
    """Small copies [N, h, w] as float32 [N, COARSE, COARSE] of mean 0 and length 1."""
    values = np.stack([cv2.resize(one, (COARSE, COARSE), interpolation=cv2.INTER_AREA) for one in small]).astype(
        np.float32
    )
    values -= values.mean(axis=(1, 2), keepdims=True)
    return values / np.maximum(np.sqrt((values**2).sum(axis=(1, 2), keepdims=True)), 1e-6)


def exact_place(suspect: Clip, original: Clip, offset: Offset, near: Placed) -> tuple[Placed, Levels]:
    """Where the original lies, and how bright, by frames that show the same moments."""
    pairs = offset.pairs[spread(len(offset.pairs), EXACT_LOOK)]
    shown = list(suspect.frames(pairs[:, 0])), list(original.frames(pairs[:, 1]))
    found = place(*shown, near.mirrored) or near
    sizes = [(clip.info.width, clip.info.height) for clip in (suspect, original)]
    return best_of([found, *simple_maps(found, *sizes)], *shown)


def differences_of(
    suspect: Clip, original: Clip, results: tuple[Result, Result], offset: Offset, placed: Placed, levels: Levels
) -> Comparison:
    """Compare up to MOMENTS of the common stretch, those at which faces were detected first."""
    pairs = offset.pairs[chosen(suspect, results[0].faces, offset.pairs)]
    times = suspect.times[pairs[:, 0]]
    boxes = [boxes_at(face, times, suspect.frame) for face in results[0].faces]
    hidden = [nearest_boxes(face, times) for face in results[0].faces]
    frames = suspect.frames(pairs[:, 0]), original.frames(pairs[:, 1])
    differences = compare(*frames, [round(float(time), 3) for time in times], boxes, hidden, placed, levels)
    theirs = [boxes_at(face, original.times[pairs[:, 1]], sampled(face, original)) for face in results[1].faces]
    same = [same_face(own, theirs, placed.matrix) for own in boxes]
    return Comparison(suspect, original, results, offset, placed, levels, differences, same)


def chosen(suspect: Clip, faces: Sequence[FaceResult], pairs: np.ndarray) -> np.ndarray:
    """Which pairs are compared: some at which a face was detected or, without faces, any."""
    times = suspect.times[pairs[:, 0]]
    detected = np.unique([time for face in faces for time in face.times])
    if len(detected):
        nearest = detected[nearest_of(detected, times)]
        seen = np.flatnonzero(np.abs(nearest - times) <= max(suspect.frame / 2, 1e-3))
        if len(seen):
            return seen[spread(len(seen), MOMENTS)]
    return spread(len(pairs), MOMENTS)


def sampled(face: FaceResult, clip: Clip) -> float:
    """From one detection of a face to the next, in seconds: its clip may be sampled by every so many frames."""
    return max(clip.frame, float(np.median(np.diff(face.times))) if len(face.times) > 1 else 0.0)


def boxes_at(face: FaceResult, times: np.ndarray, reach: float) -> list[Box | None]:
    """A face's box at each of the times, None where it was not detected within so many seconds."""
    known = np.array(face.times)
    near = np.abs(known[nearest_of(known, times)] - times) <= max(reach, 1e-3)
    return [box if is_near else None for box, is_near in zip(nearest_boxes(face, times), near, strict=True)]


def nearest_boxes(face: FaceResult, times: np.ndarray) -> list[Box]:
    """A face's box at each of the times, or the nearest in time."""
    return [face.boxes[at] for at in nearest_of(np.array(face.times), times)]


def same_face(boxes: list[Box | None], theirs: list[list[Box | None]], matrix: np.ndarray) -> int | None:
    """The index of the original's face whose boxes lie where a face of the suspect has its; None if there is none."""
    best, best_overlap = None, SAME_FACE
    for index, own in enumerate(theirs):
        overlaps = [
            float(iou_plus_one(np.array(here), laid(there, matrix)[None])[0])
            for here, there in zip(boxes, own, strict=True)
            if here is not None and there is not None
        ]
        if overlaps and np.mean(overlaps) > best_overlap:
            best, best_overlap = index, float(np.mean(overlaps))
    return best


def laid(box: Box, matrix: np.ndarray) -> np.ndarray:
    """A box of the original in the suspect's pixels, [4]."""
    x1, y1, x2, y2 = box
    corners = moved(np.array([[x1, y1], [x2, y1], [x1, y2], [x2, y2]], float), matrix)
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])
