"""Measures of scores: pure functions on arrays of labels, int [N], 1 for FAKE, and scores, float [N] in [0, 1].

MEASURES lists those that `quality.evaluate` and `quality.benchmark` report. A measure that the videos do not define is
NaN, for example the area under the ROC curve if there is only one class.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from training.metrics import VideoScore, log_loss

THRESHOLD = 0.5  # of the accuracy
BINS = 10  # of the expected calibration error
RECALLS = (0.1, 0.5, 0.9)
ENOUGH = 20  # originals for a bootstrap: fewer often all score alike, whatever the detector is worth
FALSE_POSITIVES = (0.001, 0.01, 0.05, 0.1)  # rates of the operating points
RESOLVED = 10  # real videos above a threshold that are enough to tell where it lies

Function = Callable[[np.ndarray, np.ndarray], float]  # of labels and scores
Statistics = Callable[[np.ndarray, np.ndarray], dict[str, float]]


def contest_log_loss(labels: np.ndarray, scores: np.ndarray) -> float:
    """The contest's log loss, whose probabilities are clipped to [1e-15, 1 - 1e-15]."""
    return log_loss(map(VideoScore, labels.tolist(), scores.tolist()))


def balanced_log_loss(labels: np.ndarray, scores: np.ndarray) -> float:
    """The mean of the contest's log losses of both classes."""
    return sum(contest_log_loss(labels[labels == label], scores[labels == label]) for label in (0, 1)) / 2


def equal_error_rate(labels: np.ndarray, scores: np.ndarray) -> float:
    """The error rate at the threshold where REAL is called fake as often as FAKE is missed; interpolated."""
    false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
    gap = (1 - true) - false  # falls from 1 to -1
    after = int(np.argmax(gap <= 0))
    position = gap[after - 1] / (gap[after - 1] - gap[after])  # of the crossing between both thresholds
    return float(false[after - 1] + position * (false[after] - false[after - 1]))


def accuracy(labels: np.ndarray, scores: np.ndarray) -> float:
    """The fraction of videos that a threshold of 0.5 classifies rightly."""
    return float(np.mean((scores > THRESHOLD) == labels))


def precision_at(labels: np.ndarray, scores: np.ndarray, recall: float) -> float:
    """The highest precision of a threshold that finds at least a fraction `recall` of FAKE; NaN without FAKE."""
    if not labels.any():
        return math.nan
    precisions, recalls, _ = precision_recall_curve(labels, scores)
    return float(precisions[recalls >= recall].max())


def threshold_at(labels: np.ndarray, scores: np.ndarray, false_positives: float) -> float:
    """The least score that at most a fraction `false_positives`, in [0, 1), of the real videos exceed.

    Raises ValueError if there is no real video, or the fraction is not in its range.
    """
    real = np.sort(scores[labels == 0])[::-1]
    if not len(real):
        raise ValueError("a threshold for a false-positive rate needs at least one real video")
    if not 0 <= false_positives < 1:
        raise ValueError(f"a false-positive rate for a threshold must be in [0, 1), not {false_positives:g}")
    return float(real[int(false_positives * len(real))])


def recall_at(labels: np.ndarray, scores: np.ndarray, false_positives: float) -> float:
    """The true-positive rate at a false-positive rate in [0, 1): the fraction of FAKE above `threshold_at`.

    Raises ValueError as `threshold_at` does. NaN if there is no fake.
    """
    threshold = threshold_at(labels, scores, false_positives)
    return float(np.mean(scores[labels == 1] > threshold)) if labels.any() else math.nan


def expected_calibration_error(labels: np.ndarray, scores: np.ndarray) -> float:
    """The mean distance between score and fraction of FAKE, over BINS of equal width, weighted by their videos."""
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    distance = sum(abs(scores[bins == number].sum() - labels[bins == number].sum()) for number in range(BINS))
    return float(distance / len(labels))


class Measure(NamedTuple):
    """A measure, and whether it is defined only if there are videos of both classes."""

    function: Function
    needs_both: bool = True


MEASURES = {
    "log_loss": Measure(contest_log_loss, needs_both=False),
    "balanced_log_loss": Measure(balanced_log_loss),
    "auc": Measure(roc_auc_score),
    "average_precision": Measure(average_precision_score),
    "eer": Measure(equal_error_rate),
    "accuracy": Measure(accuracy, needs_both=False),
    **{
        f"precision_at_recall_{recall}": Measure(partial(precision_at, recall=recall), needs_both=False)
        for recall in RECALLS
    },
    "recall_at_1_percent": Measure(partial(recall_at, false_positives=0.01)),
    "recall_at_5_percent": Measure(partial(recall_at, false_positives=0.05)),
    "ece": Measure(expected_calibration_error, needs_both=False),
}


def measure(name: str, labels: np.ndarray, scores: np.ndarray) -> float:
    """A measure of MEASURES; NaN if the videos do not define it."""
    function, needs_both = MEASURES[name]
    return math.nan if needs_both and not has_both(labels) else float(function(labels, scores))


def measures(names: Iterable[str], labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """Several measures of MEASURES by name, as `measure` gives them."""
    return {name: measure(name, labels, scores) for name in names}


def has_both(labels: np.ndarray) -> bool:
    """Whether labels hold REAL and FAKE."""
    return bool(0 < labels.sum() < len(labels))


class OperatingPoint(NamedTuple):
    """Where to call a video fake: above `threshold`, which has its 95% interval, by originals.

    `called_fake` of the real videos that it was fitted on exceed it, at most the fraction `false_positives`. It is
    `resolved` if that fraction of them is at least RESOLVED videos. If it is not, threshold and interval depend on the
    few highest real videos, and the interval is too narrow.
    """

    false_positives: float
    threshold: float
    low: float
    high: float
    recall: float
    called_fake: int
    resolved: bool


def operating_points(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, rounds: int) -> list[OperatingPoint]:
    """The operating points for FALSE_POSITIVES; `groups` [N] and `rounds` as for `intervals`.

    Raises ValueError if a class is missing.
    """
    if not has_both(labels):
        raise ValueError("an operating point needs videos of both classes")

    def thresholds(drawn: np.ndarray, of_drawn: np.ndarray) -> dict[str, float]:
        some_real = bool((drawn == 0).any())
        return {str(rate): threshold_at(drawn, of_drawn, rate) if some_real else math.nan for rate in FALSE_POSITIVES}

    ranges = intervals(thresholds, labels, scores, groups, rounds)
    real = scores[labels == 0]
    points = []
    for rate in FALSE_POSITIVES:
        threshold = threshold_at(labels, scores, rate)
        above, resolved = int((real > threshold).sum()), rate * len(real) >= RESOLVED
        recall = recall_at(labels, scores, rate)
        points.append(OperatingPoint(rate, threshold, *ranges[str(rate)], recall, above, resolved))
    return points


def intervals(
    statistics: Statistics, labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, rounds: int
) -> dict[str, tuple[float, float]]:
    """95% intervals of what `statistics` gives of labels and scores, by a bootstrap of whole groups.

    `groups` [N] names each video's original: in each of `rounds`, originals are drawn with replacement, each with its
    fakes. `scores` [N, ...] may have more dimensions than the first.
    """
    random = np.random.default_rng(0)
    _, numbers = np.unique(groups, return_inverse=True)
    members = np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers))[:-1])
    drawn: dict[str, list[float]] = {}
    for _ in range(rounds):
        chosen = np.concatenate([members[number] for number in random.integers(len(members), size=len(members))])
        for name, value in statistics(labels[chosen], scores[chosen]).items():
            drawn.setdefault(name, []).append(value)
    return {name: percentiles(np.array(values)) for name, values in drawn.items()}


def few_originals(groups: np.ndarray) -> str:
    """A warning if the originals, as `intervals` takes them, are too few for its bootstrap; else nothing."""
    if (count := len(np.unique(groups))) >= ENOUGH:
        return ""
    those = f"only {count} originals" if count > 1 else "a single original"
    return f"The intervals mean nothing: they come from {those}, and take {ENOUGH} or more."


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """The 2.5% and 97.5% percentiles of the values [N] that are not NaN; NaN if there are none."""
    defined = values[~np.isnan(values)]
    low, high = np.percentile(defined, (2.5, 97.5)) if len(defined) else (math.nan, math.nan)
    return float(low), float(high)
