"""Periods in a video's frames: repeated frames, and peaks in the sizes of predicted frames.

If a video was compressed before, the frames that were key frames then differ from their neighbours, and cost more bits
when they are predicted. Their distance is that of the earlier key frames (W. Wang and H. Farid, Exposing Digital
Forgeries in Video by Detecting Double MPEG Compression, 2006; D. Vazquez-Padin et al., Detection of Video Double
Encoding with GOP Size Estimation, 2012).
"""

from collections.abc import Sequence

import numpy as np

REPEATS = range(2, 7)  # 15 to 30, 20 to 30, 24 to 30, 25 to 30 frames per second
LEAST_REPEATS = 8
FALL = -0.5  # natural logarithm of three of four repeats' change over that beside them; without repeats above -0.1
SHORTEST = 9  # distance of earlier key frames that is looked for: encoders have shorter patterns of their own
LEAST_PEAKS = 4
PEAK = 6.5  # standard errors above the neighbours; single encodings reach 4.7
PEAKS_SHARE = 0.7  # of the expected places, at least, that must stand out
BESIDE = 4  # frames of the same kind on each side that a size is compared with
NOISE = 0.03  # of the logarithm of a size, at least


def repeat_period(changes: np.ndarray) -> int | None:
    """One frame in how many repeats the one before it, from the change to each frame, float [N]; None for none."""
    logs = np.log(changes + 0.05)
    falls = {}
    for period in REPEATS:
        for phase in range(period):
            hits = np.arange(phase, len(logs), period)
            if len(hits) >= LEAST_REPEATS:
                falls[period, phase] = float(np.quantile([fall_at(logs, int(hit), period) for hit in hits], 0.75))
    return min((period for (period, _), fall in falls.items() if fall <= FALL), default=None)


def fall_at(logs: np.ndarray, hit: int, period: int) -> float:
    """By how much a frame's change is smaller than the changes of the frames beside it, up to the next hits."""
    low, high = max(hit - period + 1, 0), hit + period
    return float(logs[hit] - np.median(np.delete(logs[low:high], hit - low)))


def earlier_key_frames(sizes: np.ndarray, kinds: np.ndarray, own: Sequence[int]) -> int | None:
    """The distance of the key frames of an earlier compression; None if the sizes show none.

    `sizes` are the bytes of each frame and `kinds` 1 for I, 2 for P, 3 for B, both [N]; `own` are this file's key
    frames. Distances that fit the file's own are not looked for.
    """
    heights = np.clip(peaks_of(sizes, kinds, own), -3, 4)
    gaps = {int(gap) for gap in np.diff(own)}
    best, distance = PEAK, None
    for period in range(SHORTEST, len(heights) // LEAST_PEAKS + 1):
        if any(gap % period == 0 or period % gap == 0 for gap in gaps):
            continue
        table = np.append(heights, np.full(-len(heights) % period, np.nan)).reshape(-1, period)
        counts = np.isfinite(table).sum(0)
        sums = np.nansum(table, 0) / np.sqrt(np.maximum(counts, 1))
        standing = (table > 1).sum(0) >= PEAKS_SHARE * np.maximum(counts, 1)
        height = float(np.where(standing & (counts >= LEAST_PEAKS), sums, 0).max())
        if height > best:
            best, distance = height, period
    return distance


def peaks_of(sizes: np.ndarray, kinds: np.ndarray, own: Sequence[int]) -> np.ndarray:
    """How far each frame's size stands out among frames in the same place of the pattern, in standard deviations.

    Float [N], NaN where there is nothing to compare.
    """
    logs, heights = np.log(sizes + 1.0), np.full(len(sizes), np.nan)
    for numbers in places(kinds, own).values():
        for index, number in enumerate(numbers):
            beside = [*numbers[max(index - BESIDE, 0) : index], *numbers[index + 1 : index + 1 + BESIDE]]
            if len(beside) >= BESIDE:
                heights[number] = logs[number] - np.median(logs[beside])
    spread = 1.4826 * np.nanmedian(np.abs(heights)) if np.isfinite(heights).any() else 0.0
    return heights / max(float(spread), NOISE)


def places(kinds: np.ndarray, own: Sequence[int]) -> dict[tuple[int, int, int], list[int]]:
    """The predicted frames by their place in the pattern: kind, distance from the last frame that is not B, and
    to the next. The first two frames after a key frame are left out."""
    anchors = np.flatnonzero(kinds != 3)
    near = {number + step for number in own for step in range(3)}
    found: dict[tuple[int, int, int], list[int]] = {}
    for number in range(len(kinds)):
        if kinds[number] == 1 or number in near:
            continue
        index = int(np.searchsorted(anchors, number))
        last = int(anchors[index - 1]) if index else -1
        after = int(anchors[index]) if index < len(anchors) else len(kinds)
        found.setdefault((int(kinds[number]), number - last, after - last), []).append(number)
    return found
