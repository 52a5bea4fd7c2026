"""Platt scaling: how scores become probabilities, for one score or for the mean of several.

Arrays are labels, int [N], 1 for FAKE, and scores, float [N] in [0, 1].
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

EDGE = 1e-6  # scores are clipped to [EDGE, 1 - EDGE] before their log odds are taken


class Platt(NamedTuple):
    """Platt scaling: log odds of the scaled score = (log odds of the score - shift) / temperature."""

    temperature: float
    shift: float

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """The scaled scores, float in [0, 1], of scores in [0, 1], both of the same shape."""
        return 1 / (1 + np.exp(-(log_odds(scores) - self.shift) / self.temperature))


def log_odds(scores: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of scores in [0, 1], of any shape; finite because they are clipped by EDGE."""
    inside = np.clip(scores, EDGE, 1 - EDGE)
    return np.log(inside / (1 - inside))


def fit_platt(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Platt:
    """The Platt scaling (Platt, 1999) with the least log loss, weighted if there are weights, float [N].

    Raises ValueError if a class is missing, or if higher scores do not go with FAKE.
    """
    fitted = LogisticRegression(C=math.inf).fit(log_odds(scores)[:, None], labels, weights)
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope <= 0:
        raise ValueError("higher scores do not go with FAKE: there is nothing to calibrate")
    return Platt(1 / slope, -intercept / slope)


def balanced_weights(sets: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weights, float [N] with mean 1, by which every class of every set counts alike; `sets` [N] names the sets.

    A set of one class has weight 0. If all sets do, so have all videos.
    """
    weights = np.zeros(len(labels))
    for name in np.unique(sets):
        classes = [(sets == name) & (labels == label) for label in (0, 1)]
        if all(chosen.any() for chosen in classes):
            for chosen in classes:
                weights[chosen] = 1 / chosen.sum()
    return weights * (len(labels) / weights.sum() if weights.any() else 1)


def fit_mean_temperature(labels: np.ndarray, scores: Sequence[np.ndarray], weights: np.ndarray | None = None) -> float:
    """The temperature for several scores of the same videos with which their mean has the least log loss.

    The temperature divides each score's log odds. It is between 0.2 and 2, in hundredths, and below 1 if the mean is
    not confident enough. `weights`, float [N], are those of the videos.
    """

    def loss(temperature: float) -> float:
        means = mean_scaled(scores, Platt(temperature, 0.0))
        return float(log_loss(labels, means, sample_weight=weights, labels=[0, 1]))

    return float(min(np.linspace(0.2, 2, 181), key=loss))


def mean_scaled(scores: Sequence[np.ndarray], platt: Platt) -> np.ndarray:
    """The mean, float [N], of several scores of the same videos, each after the same Platt scaling."""
    return np.mean([platt.apply(values) for values in scores], axis=0)
