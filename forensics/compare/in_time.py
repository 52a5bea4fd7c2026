"""When two clips show the same: first by small copies of their frames, then to the frame.

The original's small copies are laid over the suspect's, by the map of `in_picture`. Of the offsets at which the clips
differ least, the one counts at which what moves in both correlates most. A swapped face moves like no face of the
original, so the correlation may be small. Whether both show the same moment is decided place by place: around a changed
face most places still move together; in two takes in front of the same wall few do.
"""

from typing import NamedTuple

import cv2
import numpy as np

from common.errors import BadInputError
from common.spread import spread
from forensics.compare.clips import Clip

PROBES = 400  # frames of the suspect that are tried at each offset
CANDIDATES = 24  # offsets at which movement is compared
LEAST_COMMON = 0.2  # of the shorter clip's frames
LEAST_PAIRS = 5
LEAST_STILL = 0.5  # of the shorter clip's frames, where nothing moves
MOVES = 0.06  # of the contrast: below that nothing moves
STEP = 4  # frames over which movement is measured; a quarter of the frames if they are few
ALIKE_PLACE = 0.7  # correlation of a place that moves together in both, at least
LIKE = 0.6  # share of what moves, by its energy, that has to move together
# How many times as fast the suspect may play: film, PAL and NTSC are converted into each other frame by frame.
SPEEDS = (1.0, 24 / 25, 25 / 24, 25 / 30, 30 / 25, 24 / 30, 30 / 24, 0.5, 2.0)
RETIMED = 0.02  # how much better another speed must agree
NEIGHBOUR = 0.8  # a frame before or after counts if it differs by less than this times the difference at the time
ALIKE = 0.8  # correlation of two pictures of the same moment, at least


class NoCommonMomentError(BadInputError):
    """Two clips show no moment that is the same, as far as can be told; the message says what was missing."""


class Offset(NamedTuple):
    """What the suspect shows at time t, the original shows at `speed` * t + `seconds`.

    `pairs`, int [N, 2], holds numbers of frames that look alike then. `together` is the share of what moves in them, by
    its energy, that moves alike; None if hardly anything moves, or before `same_moment` has looked.
    """

    seconds: float
    speed: float
    pairs: np.ndarray
    together: float | None = None


class CommonPart(NamedTuple):
    """The part of the picture that both clips show: its pixels in their small copies, standardised float32 [N, D]."""

    suspect: np.ndarray
    original: np.ndarray


def common_part(suspect: Clip, original: Clip, matrix: np.ndarray) -> CommonPart:
    """Lay the original's small copies over the suspect's. `matrix` [2, 3] maps the original's pixels to the suspect's.

    Raises NoCommonMomentError if the pictures hardly overlap.
    """
    (height, width), (original_height, original_width) = suspect.small.shape[1:], original.small.shape[1:]
    to_small = scaling(width / suspect.info.width, height / suspect.info.height)
    from_small = scaling(original.info.width / original_width, original.info.height / original_height)
    small_matrix = (to_small @ np.vstack([matrix, [0, 0, 1]]) @ from_small)[:2]
    white = cv2.warpAffine(np.full((original_height, original_width), 255, np.uint8), small_matrix, (width, height))
    both = cv2.erode(white, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=255) == 255
    if both.mean() < LEAST_COMMON:
        raise NoCommonMomentError("the two pictures hardly overlap")
    warped = [cv2.warpAffine(copy, small_matrix, (width, height))[both] for copy in original.small]
    return CommonPart(standardise(suspect.small[:, both]), standardise(np.stack(warped)))


def scaling(across: float, down: float) -> np.ndarray:
    """The map [3, 3] from a picture's pixels to those of the picture scaled by these factors."""
    return np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])


def standardise(levels: np.ndarray) -> np.ndarray:
    """Levels [N, D] of a clip as float32 with mean 0 and standard deviation 1 over all frames."""
    values = levels.astype(np.float32)
    return (values - values.mean()) / max(float(values.std()), 1e-3)


class Candidate(NamedTuple):
    """An offset to try at a speed: how much the paired frames differ, and their indices, int [P] each."""

    speed: float
    difference: float
    suspect: np.ndarray  # among the suspect's probed frames
    original: np.ndarray  # among the original's kept frames


def find_offset(suspect: Clip, original: Clip, common: CommonPart) -> Offset:
    """The offset and speed at which the clips agree best.

    Raises NoCommonMomentError if they are too short for any, or if no two frames look alike at the best.
    """
    probes = spread(len(suspect.kept), PROBES)
    differences = mean_squared_differences(common.suspect[probes], common.original)
    probe_times = suspect.times[suspect.kept[probes]]
    still = min(len(suspect.times), len(original.times)) == 1
    candidates = [
        candidate
        for speed in ((1.0,) if still else SPEEDS)
        for candidate in best_offsets(probe_times, speed, original, differences)
    ]
    if not candidates:
        raise NoCommonMomentError("they have too few frames in common, at any offset")
    best = best_by_movement(candidates, common, probes)
    original_times = original.times[original.kept[best.original]]
    seconds = float(np.median(original_times - best.speed * probe_times[best.suspect]))
    pairs = pairs_at(suspect, original, common, seconds, best.speed)
    if not len(pairs):
        raise NoCommonMomentError("no frame of one looks like the frame of the other at that time")
    return Offset(seconds, best.speed, pairs)


def best_by_movement(candidates: list[Candidate], common: CommonPart, probes: np.ndarray) -> Candidate:
    """The candidate at which what moves in both clips correlates most; the first one if nothing moves at any.

    `probes` are indices [N] of kept frames of the suspect.
    """
    known = []
    for index, candidate in enumerate(candidates):
        moved = movement(common.suspect[probes[candidate.suspect]], common.original[candidate.original])
        if moved is not None:
            known.append((moved - (candidate.speed != 1.0) * RETIMED, index))
    return candidates[max(known)[1] if known else 0]


def best_offsets(probe_times: np.ndarray, speed: float, original: Clip, differences: np.ndarray) -> list[Candidate]:
    """The CANDIDATES offsets at which the probed frames differ least from the original's at a speed, best first.

    `differences` [N, M] are those of each probed frame from each of the original's kept frames. An offset has to pair
    LEAST_PAIRS frames, and a part of the shorter clip's.
    """
    times, original_times = probe_times * speed, original.times[original.kept]
    steps = [float(np.median(np.diff(values))) for values in (times, original_times) if len(values) > 1]
    frame, finest = max(steps, default=0.0), min(steps, default=1.0)
    span, original_span = (float(values[-1] - values[0]) + frame for values in (times, original_times))
    shared = len(times) * min(original_span / max(span, 1e-6), 1.0)  # of the probed frames, at the best offset
    least = max(min(LEAST_PAIRS, len(times), len(original_times)), int(LEAST_COMMON * shared))
    candidates = []
    first, last = original_times[0] - times[-1], original_times[-1] - times[0]
    for offset in np.arange(first, last + finest / 2, finest / 2):
        nearest = nearest_index(original_times, times + offset)
        inside = np.abs(original_times[nearest] - times - offset) <= frame / 2 + 1e-6
        if (count := int(inside.sum())) >= least:
            in_suspect, in_original = np.flatnonzero(inside), nearest[inside]
            mean = float(differences[in_suspect, in_original].mean())
            candidates.append(Candidate(speed, mean * (1.1 - 0.1 * count / len(times)), in_suspect, in_original))
    return sorted(candidates, key=lambda candidate: candidate.difference)[:CANDIDATES]


def mean_squared_differences(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The mean squared difference of each row of [N, D] from each row of [M, D], float32 [N, M]."""
    squares = (rows**2).sum(axis=1)[:, None] + (columns**2).sum(axis=1) - 2 * rows @ columns.T
    return np.maximum(squares, 0) / rows.shape[1]


def nearest_index(times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """For each wanted time [M], the index of the nearest of the ascending `times` [N], the earlier of two: int [M]."""
    after = np.clip(np.searchsorted(times, wanted), 1, max(len(times) - 1, 1))
    before = after - 1
    if len(times) == 1:
        return before
    return np.where(wanted - times[before] <= times[after] - wanted, before, after)


def movement(suspect: np.ndarray, original: np.ndarray) -> float | None:
    """The correlation, in [-1, 1], of what changes in paired frames [N, D]; None if hardly anything does."""
    suspect, original = suspect - suspect.mean(axis=0), original - original.mean(axis=0)
    if min(float(suspect.std()), float(original.std())) < MOVES:
        return None
    return correlation(suspect, original)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """The correlation, in [-1, 1], of two arrays of the same shape [...] whose mean is 0."""
    return float((first * second).sum() / max(float(np.sqrt((first**2).sum() * (second**2).sum())), 1e-9))


def same_moment(suspect: Clip, original: Clip, common: CommonPart, offset: Offset) -> Offset:
    """The offset with the share of what moves together.

    Raises NoCommonMomentError if the share is too small for the same moment, or if nothing moves and the pairs are few.
    """
    pairs = offset.pairs
    in_suspect = common.suspect[np.searchsorted(suspect.kept, pairs[:, 0])]
    in_original = common.original[np.searchsorted(original.kept, pairs[:, 1])]
    if movement(in_suspect, in_original) is None:
        if len(pairs) < LEAST_STILL * min(len(suspect.times), len(original.times)):
            raise NoCommonMomentError(
                f"nothing moves the same way in both: the {len(pairs)} frames that look most alike show no movement"
            )
        return offset
    share = share_alike(in_suspect, in_original)
    if share < LIKE:
        raise NoCommonMomentError(
            f"too little moves the same way in both ({share:.0%} of what moves, {LIKE:.0%} is needed): they may show "
            "the same place, but not the same moment"
        )
    return offset._replace(together=share)


def share_alike(suspect: np.ndarray, original: np.ndarray) -> float:
    """The share, by energy, of what changes within STEP paired frames [N, D] that lies where both change alike."""
    step = max(min(STEP, len(suspect) // 4), 1)
    suspect, original = (frames[step:] - frames[:-step] for frames in (suspect, original))
    energy, original_energy = (suspect**2).sum(axis=0), (original**2).sum(axis=0)
    alike = (suspect * original).sum(axis=0) >= ALIKE_PLACE * np.sqrt(energy * original_energy)
    both = np.minimum(energy, original_energy)
    return float(both[alike].sum() / max(float(both.sum()), 1e-9))


def pairs_at(suspect: Clip, original: Clip, common: CommonPart, seconds: float, speed: float) -> np.ndarray:
    """The pairs of kept frames that show the same moment at an offset and a speed: numbers of frames, int [N, 2].

    The frame before or after the time counts if it differs clearly less, as where frames were dropped or doubled.
    """
    original_times = original.times[original.kept]
    wanted = suspect.times[suspect.kept] * speed + seconds
    nearest = nearest_index(original_times, wanted)
    frame = float(np.median(np.diff(original_times))) if len(original_times) > 1 else suspect.frame_seconds
    reach = 0.6 * frame  # more than half, because timestamps are rounded
    pairs: list[tuple[int, int]] = []
    for row in np.flatnonzero(np.abs(original_times[nearest] - wanted) <= reach + 1e-6):
        index = best_neighbour(common, int(row), int(nearest[row]))
        in_suspect, in_original = common.suspect[row], common.original[index]
        if correlation(in_suspect - in_suspect.mean(), in_original - in_original.mean()) >= ALIKE:
            earlier = pairs[-1][1] if pairs else 0
            pairs.append((int(suspect.kept[row]), max(int(original.kept[index]), earlier)))
    return np.array(pairs, int).reshape(-1, 2)


def best_neighbour(common: CommonPart, row: int, nearest: int) -> int:
    """The original's frame for the suspect's frame `row`: `nearest`, or one beside it that differs clearly less.

    All are indices among the kept frames.
    """
    beside = [index for index in (nearest, nearest - 1, nearest + 1) if 0 <= index < len(common.original)]
    differences = [float(((common.suspect[row] - common.original[index]) ** 2).mean()) for index in beside]
    return beside[int(np.argmin(differences))] if min(differences) < NEIGHBOUR * differences[0] else nearest
