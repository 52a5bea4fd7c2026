"""The measures of `quality.evaluate`: pure functions on arrays of labels (1 FAKE) and scores in [0, 1].

A measure that the videos do not define is NaN, for example the area under the curve of only one class.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, precision_recall_curve, roc_auc_score, roc_curve

from training.metrics import VideoScore, summarise

THRESHOLD = 0.5  # of the accuracy
BINS = 10  # of the expected calibration error
RECALLS = (0.1, 0.5, 0.9)
FALSE_POSITIVES = (0.001, 0.01, 0.05, 0.1)  # of the operating points
RESOLVED = 10  # REAL above a threshold that tell where it lies
EDGE = 1e-6  # scores are clipped to [EDGE, 1 - EDGE] before their logit is taken


class Platt(NamedTuple):
    """logit of the calibrated score = (logit of the score - shift) / temperature."""

    temperature: float
    shift: float

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Scores in [0, 1] -> calibrated scores."""
        return 1 / (1 + np.exp(-(logit(scores) - self.shift) / self.temperature))


def logit(scores: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of each score."""
    inside = np.clip(scores, EDGE, 1 - EDGE)
    return np.log(inside / (1 - inside))


def fit_calibration(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Platt:
    """Platt's method: the temperature and shift with the least log loss, weighted if there are weights.

    Raises ValueError if a class is missing, or if higher scores do not go with FAKE.
    """
    fit = LogisticRegression(C=math.inf).fit(logit(scores)[:, None], labels, weights)
    slope, intercept = float(fit.coef_[0, 0]), float(fit.intercept_[0])
    if slope <= 0:
        raise ValueError("higher scores do not go with FAKE: there is nothing to calibrate")
    return Platt(1 / slope, -intercept / slope)


def balanced_weights(sets: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights with which every class of every set counts alike; a set of one class counts nothing. Their mean is 1."""
    weights = np.zeros(len(labels))
    for name in np.unique(sets):
        of_set = [(sets == name) & (labels == label) for label in (0, 1)]
        for chosen in of_set if all(mine.any() for mine in of_set) else ():
            weights[chosen] = 1 / chosen.sum()
    return weights * (len(labels) / weights.sum() if weights.any() else 1)


def least_shift(sets: np.ndarray, labels: np.ndarray, scores: Sequence[np.ndarray], most: float) -> float:
    """The least shift, of log odds, with which at most a fraction `most` of each set's reals has a mean score above .5.

    It is between 0 and 10, in hundredths, and applies to each of the scores.
    """
    shifts = np.linspace(0, 10, 1001)
    low, high = 0, len(shifts) - 1
    while low < high:
        middle = (low + high) // 2
        above = np.mean([Platt(1.0, shifts[middle]).apply(mine) for mine in scores], axis=0) > 0.5
        fractions = [above[(sets == name) & (labels == 0)].mean() for name in np.unique(sets[labels == 0])]
        low, high = (low, middle) if max(fractions, default=0.0) <= most else (middle + 1, high)
    return float(shifts[low])


def fit_mean(labels: np.ndarray, scores: Sequence[np.ndarray], weights: np.ndarray | None = None) -> float:
    """The temperature for several scores of the same videos with which their mean has the least log loss.

    The temperature divides each score's log odds. It is between .2 and 2, in hundredths, and below 1 if the mean is not
    sure enough.
    """

    def loss(temperature: float) -> float:
        means = np.mean([Platt(temperature, 0.0).apply(mine) for mine in scores], axis=0)
        return float(log_loss(labels, means, sample_weight=weights, labels=[0, 1]))

    return float(min(np.linspace(0.2, 2, 181), key=loss))


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The area under the ROC curve; NaN if a class is missing."""
    return float(roc_auc_score(labels, scores)) if 0 < labels.sum() < len(labels) else math.nan


def measures(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """All measures. Log losses are the contest's (clipped at 1e-15)."""
    losses = summarise(
        {str(at): VideoScore(*pair) for at, pair in enumerate(zip(labels.tolist(), scores.tolist(), strict=True))}
    )
    both = len(set(labels.tolist())) == 2
    found = {
        "log_loss": losses["video_logloss"],
        "balanced_log_loss": losses["video_logloss_balanced"] if both else math.nan,
        "auc": auc(labels, scores),
        "eer": equal_error_rate(labels, scores) if both else math.nan,
        "accuracy": float(np.mean((scores > THRESHOLD) == labels)),
    }
    precision, recall, _ = precision_recall_curve(labels, scores) if labels.any() else (np.ones(1), np.zeros(1), None)
    for wanted in RECALLS:
        reached = precision[recall >= wanted]
        found[f"precision_at_recall_{wanted}"] = float(reached.max()) if len(reached) else math.nan
    return found | {"ece": expected_calibration_error(labels, scores)}


def equal_error_rate(labels: np.ndarray, scores: np.ndarray) -> float:
    """The error rate at the threshold where REAL are taken for FAKE as often as FAKE for REAL; interpolated."""
    false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
    gap = (1 - true) - false  # falls from 1 to -1
    after = int(np.argmax(gap <= 0))
    position = gap[after - 1] / (gap[after - 1] - gap[after])  # of the crossing between both thresholds
    return float(false[after - 1] + position * (false[after] - false[after - 1]))


def threshold_at(labels: np.ndarray, scores: np.ndarray, false_positives: float) -> float:
    """The least score that no more than a fraction `false_positives` of REAL exceed."""
    real = np.sort(scores[labels == 0])[::-1]
    return float(real[int(false_positives * len(real))])


def found_at(labels: np.ndarray, scores: np.ndarray, false_positives: float) -> float:
    """The fraction of FAKE above the least score that no more than `false_positives` of REAL exceed."""
    return float(np.mean(scores[labels == 1] > threshold_at(labels, scores, false_positives)))


class OperatingPoint(NamedTuple):
    """Where to call a video fake: above `threshold`, with its 95 % interval by originals.

    Of the REAL that it was fitted on, `called_fake` exceed it, at most the wanted fraction. It is `resolved` if that
    fraction of them is RESOLVED videos at least. With fewer, threshold and interval rest on the few highest REAL, and
    the interval is too narrow.
    """

    false_positives: float
    threshold: float
    low: float
    high: float
    recall: float
    called_fake: int
    resolved: bool


def operating_points(labels: np.ndarray, scores: np.ndarray, groups: np.ndarray, rounds: int) -> list[OperatingPoint]:
    """The operating points for FALSE_POSITIVES. Raises ValueError if a class is missing."""
    if not 0 < labels.sum() < len(labels):
        raise ValueError("an operating point needs videos of both classes")

    def thresholds(drawn: np.ndarray, of: np.ndarray) -> dict[str, float]:
        there = bool((drawn == 0).any())
        return {str(rate): threshold_at(drawn, of, rate) if there else math.nan for rate in FALSE_POSITIVES}

    ranges = intervals(labels, scores, groups, rounds, of=thresholds)
    real = scores[labels == 0]
    points = []
    for rate in FALSE_POSITIVES:
        threshold = threshold_at(labels, scores, rate)
        above, resolved = int((real > threshold).sum()), rate * len(real) >= RESOLVED
        recall = found_at(labels, scores, rate)
        points.append(OperatingPoint(rate, threshold, *ranges[str(rate)], recall, above, resolved))
    return points


def expected_calibration_error(labels: np.ndarray, scores: np.ndarray) -> float:
    """The mean distance between score and fraction of FAKE, over bins of equal width, weighted by their videos."""
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    distance = sum(abs(scores[bins == number].sum() - labels[bins == number].sum()) for number in range(BINS))
    return float(distance / len(labels))


def intervals(
    labels: np.ndarray,
    scores: np.ndarray,
    groups: np.ndarray,
    rounds: int,
    seed: int = 0,
    of: Callable[[np.ndarray, np.ndarray], dict[str, float]] | None = None,
) -> dict[str, tuple[float, float]]:
    """95 % intervals of what `of` (default: `measures`) gives, by drawing whole groups with replacement.

    A group is an original and its fakes. `scores` may have more dimensions than the first.
    """
    of = of or measures
    random = np.random.default_rng(seed)
    _, numbers = np.unique(groups, return_inverse=True)
    members = np.split(np.argsort(numbers, kind="stable"), np.cumsum(np.bincount(numbers))[:-1])
    drawn: dict[str, list[float]] = {}
    for _ in range(rounds):
        chosen = np.concatenate([members[at] for at in random.integers(len(members), size=len(members))])
        for name, value in of(labels[chosen], scores[chosen]).items():
            drawn.setdefault(name, []).append(value)
    return {name: percentiles(np.array(values)) for name, values in drawn.items()}


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """The 2.5 % and 97.5 % percentiles of the values that are not NaN."""
    defined = values[~np.isnan(values)]
    low, high = np.percentile(defined, (2.5, 97.5)) if len(defined) else (math.nan, math.nan)
    return float(low), float(high)
