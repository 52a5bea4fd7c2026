"""Log losses (reference, section 5) and the AUC of videos. Pure functions."""

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

EPSILON = 1e-15


class VideoScore(NamedTuple):
    """A video's label (1 FAKE) and its probability of FAKE, the mean over all frames and faces."""

    label: int
    probability: float


def video_scores(frames: Iterable[tuple[str, int, float]]) -> dict[str, VideoScore]:
    """Group the (video, label, probability of FAKE) of single frames by video, in order of first appearance."""
    grouped: dict[str, list[float]] = defaultdict(list)
    labels: dict[str, int] = {}
    for video, label, probability in frames:
        grouped[video].append(probability)
        labels[video] = label
    return {video: VideoScore(labels[video], math.fsum(values) / len(values)) for video, values in grouped.items()}


def log_loss(scores: Iterable[VideoScore]) -> float:
    """Mean of -log of the true label's probability, clipped to [1e-15, 1 - 1e-15]; NaN if there are no scores."""
    losses = []
    for label, probability in scores:
        clipped = min(max(probability, EPSILON), 1 - EPSILON)
        losses.append(-math.log(clipped if label else 1 - clipped))
    return math.fsum(losses) / len(losses) if losses else math.nan


def summarise(scores: Mapping[str, VideoScore]) -> dict[str, float]:
    """Log loss over all videos, over REAL, over FAKE, and balanced: the mean of REAL's and FAKE's.

    With videos of only one label, balanced is the log loss of that label.
    """
    real = log_loss(score for score in scores.values() if score.label == 0)
    fake = log_loss(score for score in scores.values() if score.label == 1)
    labels = {score.label for score in scores.values()}
    present = [loss for label, loss in ((0, real), (1, fake)) if label in labels]
    balanced = sum(present) / len(present) if present else math.nan
    return {
        "video_logloss": log_loss(scores.values()),
        "video_logloss_REAL": real,
        "video_logloss_FAKE": fake,
        "video_logloss_balanced": balanced,
    }


def auc(scores: Iterable[VideoScore]) -> float:
    """The area under the ROC curve: the chance that a fake scores above a real video, a tie counting half.

    NaN unless there are videos of both labels.
    """
    probabilities: dict[int, list[float]] = {0: [], 1: []}
    for label, probability in scores:
        probabilities[label].append(probability)
    real, fake = sorted(probabilities[0]), probabilities[1]
    below = sum(bisect_left(real, score) + bisect_right(real, score) for score in fake)  # a video below counts twice
    return below / (2 * len(real) * len(fake)) if real and fake else math.nan
