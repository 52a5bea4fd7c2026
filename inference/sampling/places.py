"""Where a screening looks: behind which key frames of a video, and how many groups of frames behind each.

An encoder that finds cuts puts a key frame at each, before its usual distance is over. So such an early key frame
begins a stretch, which stands for a shot; at a fixed distance there is one stretch, the video. Nothing is decoded to
find them, so a cut without a key frame is not known, and a flash may look like a cut.
"""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

EARLY = 0.9  # of the usual distance
USUAL = 0.5  # share of the distances above which one of them is the usual one
DEFAULT = 250  # frames between key frames at most, unless x264 or x265 is told otherwise
ALIKE = 0.2  # relative difference of stretches that count as equally long
SAME = 0.05  # relative difference of distances that count as the same


class Place(NamedTuple):
    """Groups to look at behind a key frame: its number, how many groups, and the stretch in which it is."""

    key: int
    groups: int
    stretch: int


def usual_distance(distances: np.ndarray, frame: float) -> float:
    """The distance of key frames, float [N], that the encoder keeps unless it finds a cut; infinite if none shows.

    N is at least 1, `frame` the length of a frame; both in seconds. Most distances are alike, or the longest that comes
    twice is meant, or what x264 and x265 take by default.
    """
    steps = np.round(np.log(np.maximum(distances, 1e-6)) / SAME).astype(int).tolist()
    counts = Counter(steps)
    step, count = counts.most_common(1)[0]
    if count > USUAL * len(steps) and count > 1:
        return max(distance for distance, own in zip(distances.tolist(), steps, strict=True) if own == step)
    known = [
        distance
        for distance, own in zip(distances.tolist(), steps, strict=True)
        if counts[own] > 1 or abs(distance / frame - DEFAULT) < 1
    ]
    return max(known, default=math.inf)


def find_stretches(times: Sequence[float], frame: float) -> list[range]:
    """The numbers of the key frames of each stretch, in order, from the times of all of them in seconds.

    `frame` is the length of a frame, in seconds.
    """
    if len(times) < 2:
        return [range(len(times))]
    distances = np.diff(times)
    cuts = np.flatnonzero(distances < EARLY * usual_distance(distances, frame)) + 1
    starts = [0, *cuts.tolist()]
    return [range(start, end) for start, end in zip(starts, [*starts[1:], len(times)], strict=True)]


def longest_first(lengths: Sequence[float], wanted: int) -> list[int]:
    """The indices of stretches, the longest first; of about equal ones, first `wanted` that are spread over all."""
    classes: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        classes.setdefault(-round(math.log(max(length, 1e-3)) / ALIKE), []).append(index)
    order = list[int]()
    for _, alike in sorted(classes.items()):
        chosen = spread_over(alike, min(wanted, len(alike)))
        order += chosen + [index for index in alike if index not in chosen]
    return order


def spread_over(items: Sequence[int], count: int) -> list[int]:
    """`count` of at least as many items, each in the middle of an equal part of them."""
    return [items[int((number + 0.5) * len(items) / count)] for number in range(count)]


def shares(weights: Sequence[float], count: int) -> list[int]:
    """`count` things dealt to parts by their weights, one to each at least while there are enough (d'Hondt)."""
    dealt = [0] * len(weights)
    for _ in range(count):
        best = max(range(len(weights)), key=lambda part: (not dealt[part], weights[part] / (dealt[part] + 1)))
        dealt[best] += 1
    return dealt


def choose_places(times: Sequence[float], end: float, groups: int, frame: float) -> tuple[list[Place], list[Place]]:
    """Where to look first, `groups` groups in all, and where to go on if these show no face, in that order.

    `times` are those of the key frames, `end` that of the video, `frame` the length of a frame, in seconds. The longest
    stretches get one group each, in their middle; if there are fewer stretches than groups, the longer ones get more of
    them, spread over their key frames.
    """
    stretches = find_stretches(times, frame)
    edges = [*times, end]
    lengths = [edges[keys.stop] - edges[keys.start] for keys in stretches]
    order = longest_first(lengths, groups)
    dealt = shares([lengths[index] for index in order], groups)
    first, later = list[Place](), list[list[Place]]()
    for index, count in zip(order, dealt, strict=True):
        keys = stretches[index]
        if count == 0:
            later.append([Place(keys[len(keys) // 2], 1, index)])
            continue
        if len(keys) > count:
            chosen = spread_over(keys, count)
            first += [Place(key, 1, index) for key in chosen]
        else:
            chosen = list(keys)
            spans = [edges[key + 1] - edges[key] for key in chosen]
            first += [Place(key, n, index) for key, n in zip(chosen, shares(spans, count), strict=True)]
        later.append([Place(key, 1, index) for key in between(keys, chosen)])
    return first, [place for places in later for place in places]


def between(keys: range, chosen: Sequence[int]) -> list[int]:
    """The other numbers of `keys`, those farthest from `chosen` first, as halving the gaps again and again finds them.

    At most as many as were chosen, twice: what a screening can still afford.
    """
    taken, found = sorted(chosen), list[int]()
    for _ in range(2):
        edges = [keys.start - 1, *taken, keys.stop]
        middles = [(low + high) // 2 for low, high in pairwise(edges) if high - low > 1]
        found += middles
        taken = sorted({*taken, *middles})
    return found
