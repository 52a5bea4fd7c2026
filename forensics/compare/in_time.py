"""When two clips show the same: first by small copies of their frames, then to the frame.

The original's small copies are laid over the suspect's, as `in_picture` says. The right offset is the one, of those at
which they differ least, at which what moves in both correlates most. A swapped face moves as no face of the original
does, so the correlation may be small. Whether both show one moment is decided place by place: around a changed face
most places still move together; in two takes before one background few do.
"""

from typing import NamedTuple

import cv2
import numpy as np

from common.errors import BadInputError
from common.spread import spread
from forensics.compare.clips import Clip

PROBES = 400  # frames of the suspect by which the offset is looked for
CANDIDATES = 24  # offsets that are tried by what moves
LEAST_COMMON = 0.2  # of the shorter clip's frames
LEAST_PAIRS = 5
LEAST_STILL = 0.5  # of the shorter clip's frames, where nothing moves
MOVES = 0.06  # of the contrast: below that nothing moves
STEP = 4  # frames over which a place has to move; of few frames a quarter
ALIKE_PLACE = 0.7  # correlation of a place that moves together in both
LIKE = 0.6  # of what moves, by its energy, at least, has to move together
# How many times as fast the suspect may play: film, PAL and NTSC turn into each other frame by frame.
SPEEDS = (1.0, 24 / 25, 25 / 24, 25 / 30, 30 / 25, 24 / 30, 30 / 24, 0.5, 2.0)
RETIMED = 0.02  # by so much another speed must agree better
NEIGHBOUR = 0.8  # of the difference of the frame at the time: so much less a frame beside it must differ
ALIKE = 0.8  # correlation of two pictures of one moment, at least


class Offset(NamedTuple):
    """What the suspect shows at t, the original shows at `speed` times t plus `seconds`.

    `pairs` [N, 2] are numbers of frames that look alike then. `together` is the share of what moves in them that moves
    alike, by its energy: None if hardly anything moves, or before `same_moment` has looked.
    """

    seconds: float
    speed: float
    pairs: np.ndarray
    together: float | None = None


class Laid(NamedTuple):
    """Small copies of both clips, standardised float32 [N, D] each, in the part of the picture that both show."""

    suspect: np.ndarray
    original: np.ndarray


def lay(suspect: Clip, original: Clip, matrix: np.ndarray) -> Laid:
    """Lay the original's small copies over the suspect's. `matrix` [2, 3] maps the original's pixels to the suspect's.

    Raises BadInputError if the pictures hardly overlap.
    """
    (height, width), (own_height, own_width) = suspect.small.shape[1:], original.small.shape[1:]
    to_small = scaling(width / suspect.info.width, height / suspect.info.height)
    from_small = scaling(original.info.width / own_width, original.info.height / own_height)
    small = (to_small @ np.vstack([matrix, [0, 0, 1]]) @ from_small)[:2]
    white = cv2.warpAffine(np.full((own_height, own_width), 255, np.uint8), small, (width, height))
    both = cv2.erode(white, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=255) == 255
    if both.mean() < LEAST_COMMON:
        raise BadInputError("the two pictures hardly overlap")
    warped = [cv2.warpAffine(one, small, (width, height))[both] for one in original.small]
    return Laid(standard(suspect.small[:, both]), standard(np.stack(warped)))


def scaling(across: float, down: float) -> np.ndarray:
    """The map [3, 3] from pixels to pixels of a picture that is so many times as wide and as high."""
    return np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])


def standard(levels: np.ndarray) -> np.ndarray:
    """Levels [N, D] of a clip as float32 with mean 0 and deviation 1 over all frames."""
    values = levels.astype(np.float32)
    return (values - values.mean()) / max(float(values.std()), 1e-3)


def find_offset(suspect: Clip, original: Clip, laid: Laid) -> Offset:
    """The offset and the speed at which the clips agree best.

    Raises BadInputError if they are too short for any, or if no two frames look alike at the best.
    """
    chosen = spread(len(suspect.kept), PROBES)
    apart = distances(laid.suspect[chosen], laid.original)
    still = min(len(suspect.times), len(original.times)) == 1
    tried = [
        (speed, offset)
        for speed in ((1.0,) if still else SPEEDS)
        for offset in offsets(suspect.times[suspect.kept[chosen]] * speed, original, apart)
    ]
    if not tried:
        raise BadInputError("they have too few frames in common, at whichever offset")
    moves = [movement(laid.suspect[chosen[one.at]], laid.original[one.to]) for _, one in tried]
    known = [
        (value - (speed != 1.0) * RETIMED, at)
        for at, (value, (speed, _)) in enumerate(zip(moves, tried, strict=True))
        if value is not None
    ]
    best = max(known)[1] if known else 0
    speed, (_, at, to) = tried[best]
    seconds = float(np.median(original.times[original.kept[to]] - speed * suspect.times[suspect.kept[chosen[at]]]))
    pairs = pairs_at(suspect, original, laid, seconds, speed)
    if not len(pairs):
        raise BadInputError("no frame of one looks like the frame of the other at that time")
    return Offset(seconds, speed, pairs)


class Tried(NamedTuple):
    """An offset that was tried: how much the frames differ that it pairs, and which these are."""

    apart: float
    at: np.ndarray  # in the suspect's chosen frames
    to: np.ndarray  # in the original's kept frames


def offsets(times: np.ndarray, original: Clip, apart: np.ndarray) -> list[Tried]:
    """The CANDIDATES offsets at which frames shown at `times` differ least from the original's, best first.

    `apart` [N, M] holds the differences. An offset pairs at least LEAST_PAIRS, and a part of the shorter clip's frames.
    """
    own = original.times[original.kept]
    frame = float(max(np.median(np.diff(one)) if len(one) > 1 else 0.0 for one in (times, own)))
    finest = min((float(np.median(np.diff(one))) for one in (times, own) if len(one) > 1), default=1.0)
    span, own_span = (float(one[-1] - one[0]) + frame for one in (times, own))
    shared = len(times) * min(own_span / max(span, 1e-6), 1.0)  # of the frames at `times`, at the best offset
    least = max(min(LEAST_PAIRS, len(times), len(own)), int(LEAST_COMMON * shared))
    tried = []
    for offset in np.arange(own[0] - times[-1], own[-1] - times[0] + finest / 2, finest / 2):
        nearest = nearest_of(own, times + offset)
        inside = np.abs(own[nearest] - times - offset) <= frame / 2 + 1e-6
        if (count := int(inside.sum())) >= least:
            at, to = np.flatnonzero(inside), nearest[inside]
            tried.append(Tried(float(apart[at, to].mean()) * (1.1 - 0.1 * count / len(times)), at, to))
    return sorted(tried, key=lambda one: one.apart)[:CANDIDATES]


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The mean squared difference of each row of [N, D] to each of [M, D], float32 [N, M]."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.maximum(squares, 0) / one.shape[1]


def nearest_of(times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The index of the time, of ascending ones, that is nearest to each wanted one."""
    after = np.clip(np.searchsorted(times, wanted), 1, max(len(times) - 1, 1))
    before = after - 1
    if len(times) == 1:
        return before
    return np.where(wanted - times[before] <= times[after] - wanted, before, after)


def movement(one: np.ndarray, other: np.ndarray) -> float | None:
    """The correlation of what changes in paired frames [N, D]; None if hardly anything does."""
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    if min(float(one.std()), float(other.std())) < MOVES:
        return None
    return correlation(one, other)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """The correlation of two arrays of mean 0."""
    return float((one * other).sum() / max(float(np.sqrt((one**2).sum() * (other**2).sum())), 1e-9))


def same_moment(suspect: Clip, original: Clip, laid: Laid, offset: Offset) -> Offset:
    """The offset with the share of what moves together.

    Raises BadInputError if it is too small for one moment, or if nothing moves and the pairs are few.
    """
    pairs = offset.pairs
    shown = laid.suspect[np.searchsorted(suspect.kept, pairs[:, 0])]
    own = laid.original[np.searchsorted(original.kept, pairs[:, 1])]
    if movement(shown, own) is None:
        if len(pairs) < LEAST_STILL * min(len(suspect.times), len(original.times)):
            raise BadInputError(
                f"nowhere does the same move in both: where they look most alike, nothing moves, in {len(pairs)} frames"
            )
        return offset
    share = share_alike(shown, own)
    if share < LIKE:
        raise BadInputError(
            f"nowhere does the same move in both ({share:.0%} of what moves does, {LIKE:.0%} is asked for): they may "
            "show one place, but not one moment"
        )
    return offset._replace(together=share)


def share_alike(one: np.ndarray, other: np.ndarray) -> float:
    """Of what changes within STEP paired frames [N, D], by its energy: the share at places that change alike."""
    step = max(min(STEP, len(one) // 4), 1)
    one, other = (frames[step:] - frames[:-step] for frames in (one, other))
    energy, own = (one**2).sum(axis=0), (other**2).sum(axis=0)
    alike = (one * other).sum(axis=0) >= ALIKE_PLACE * np.sqrt(energy * own)
    both = np.minimum(energy, own)
    return float(both[alike].sum() / max(float(both.sum()), 1e-9))


def pairs_at(suspect: Clip, original: Clip, laid: Laid, seconds: float, speed: float) -> np.ndarray:
    """The pairs of kept frames at an offset and a speed, [N, 2], that show one moment.

    The frame before or after the time counts if it differs clearly less, as where frames were dropped or doubled.
    """
    own = original.times[original.kept]
    wanted = suspect.times[suspect.kept] * speed + seconds
    nearest = nearest_of(own, wanted)
    reach = 0.6 * (float(np.median(np.diff(own))) if len(own) > 1 else suspect.frame)  # timestamps are rounded
    found: list[tuple[int, int]] = []
    for row in np.flatnonzero(np.abs(own[nearest] - wanted) <= reach + 1e-6):
        at = int(nearest[row])
        beside = [one for one in (at, at - 1, at + 1) if 0 <= one < len(own)]
        apart = [float(((laid.suspect[row] - laid.original[one]) ** 2).mean()) for one in beside]
        if min(apart) < NEIGHBOUR * apart[0]:
            at = beside[int(np.argmin(apart))]
        here, there = laid.suspect[row], laid.original[at]
        if correlation(here - here.mean(), there - there.mean()) >= ALIKE:
            found.append((int(suspect.kept[row]), max(int(original.kept[at]), found[-1][1] if found else 0)))
    return np.array(found, int).reshape(-1, 2)
