"""Sampling and policies (reference, section 3). Pure functions that return scores with the rules that made them.

Scores are probabilities of FAKE in [0, 1]; None means no score.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

VIDEO_FRAMES, IMAGE_FRAMES, GROUP = 160, 35, 5
BRANCH_WEIGHTS = {"video": 0.4, "image": 0.6}
NO_SCORE = 0.5  # the label of a video that cannot be scored
A_PICTURE = "a picture: there is nothing to see over time"  # the rule of a video member's score of it, which is none
NOT_FINITE = "its network gave no finite number"  # the rule of a member's score that is left out for this


class Score(NamedTuple):
    """A score, the rule that made it, and the scores it was made of: of a member's faces, or a face's groups of five.

    The value is None if there was nothing to score.
    """

    value: float | None
    rule: str
    parts: tuple["Score", ...] = ()


class Vote(NamedTuple):
    """A member's vote in the ensemble: its branch (`video` or `image`), its weight there, its score or None."""

    branch: str
    weight: float
    score: float | None


class Ensemble(NamedTuple):
    """The final score, each branch's, and the rules."""

    final: Score
    video: Score
    image: Score


def sampling_interval(frames: int, wanted: int = VIDEO_FRAMES) -> int:
    """The interval between used frames, so that at most `wanted` of a video's frames are used: 300 -> 2, 150 frames."""
    return max(1, math.ceil(frames / wanted))


def image_frames(sampled: int) -> list[int]:
    """Which of the sampled frames the image models see: every step-th, in whole groups of five. 150 -> 30 frames."""
    step = max(1, math.ceil(sampled / IMAGE_FRAMES))
    chosen = list(range(0, sampled, step))
    return chosen[: len(chosen) // GROUP * GROUP]


def fake_probability(logits: np.ndarray) -> np.ndarray:
    """Softmax of logits [..., 2] -> the probability of class 1 [...]."""
    exponents: np.ndarray = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponents[..., 1] / exponents.sum(axis=-1)


def group_probabilities(logits: np.ndarray, group: int = GROUP) -> list[float]:
    """Logits [N, 2] of an image model's frames -> a probability per group of five: mean of the logits, then softmax.

    Of a picture, `group` is 1.
    """
    groups = logits[: len(logits) // group * group].reshape(-1, group, 2)
    return fake_probability(groups.mean(axis=1)).tolist()


def mean(scores: Sequence[float]) -> float:
    """The mean of at least one score."""
    return math.fsum(scores) / len(scores)


def group_score(groups: Sequence[float]) -> Score:
    """A face's score from its groups: the mean of the confident ones if more than 70 % agree, else the mean of all.

    Without groups there is no score.
    """
    if not groups:
        return Score(None, f"fewer than {GROUP} sampled frames")
    for name, agreeing in (("> .85", [g for g in groups if g > 0.85]), ("< .15", [g for g in groups if g < 0.15])):
        if len(agreeing) > 0.7 * len(groups):
            return Score(mean(agreeing), f"{len(agreeing)} of {len(groups)} groups {name}: mean of those")
    return Score(mean(groups), f"mean of all {len(groups)} groups")


def face_score(faces: Sequence[float]) -> Score:
    """A video's score from its faces.

    The highest counts if a face is > .9 or all are > .6, the lowest if all are < .4, else the mean.
    """
    if not faces:
        return Score(None, "no face")
    if max(faces) > 0.9:
        return Score(max(faces), "a face > .9: the highest")
    if min(faces) > 0.6:
        return Score(max(faces), "all faces > .6: the highest")
    if max(faces) < 0.4:
        return Score(min(faces), "all faces < .4: the lowest")
    return Score(mean(faces), f"mean of {len(faces)} faces" if len(faces) > 1 else "the only face")


def squeeze(score: float) -> float:
    """Pull sure scores of the members b3 and r34 toward .5. Not monotonic, as in the reference."""
    return (score - 0.5) * 0.96 + 0.5 if score >= 0.98 or score <= 0.02 else score


def image_score(faces: Sequence[np.ndarray], squeezed: bool, group: int = GROUP) -> Score:
    """An image member's score of a video from the logits [N, 2] of each face's frames."""
    scored = tuple(_image_face(logits, group) for logits in faces)
    values = [score.value for score in scored if score.value is not None]
    if not values:
        return scored[0]._replace(parts=scored) if scored else face_score([])
    value, rule, _ = face_score(values)
    rule = f"{rule} ({'; '.join(face.rule for face in scored)})"
    if squeezed and value is not None and squeeze(value) != value:
        return Score(squeeze(value), f"{rule}, squeezed", scored)
    return Score(value, rule, scored)


def _image_face(logits: np.ndarray, size: int) -> Score:
    """A face's score from the logits [N, 2] of its frames, with its groups of so many frames as parts."""
    groups = group_probabilities(logits, size)
    rule = "softmax of five frames' mean logits" if size > 1 else "softmax of the picture's logits"
    return group_score(groups)._replace(parts=tuple(Score(group, rule) for group in groups))


def video_score(faces: Sequence[np.ndarray]) -> Score:
    """A video member's score of a video from the logits [2] of each face."""
    values = [float(fake_probability(logits)) for logits in faces]
    parts = tuple(Score(value, "softmax of the clip's logits") for value in values)
    return face_score(values)._replace(parts=parts)


def branch_score(votes: Sequence[Vote], branch: str) -> Score:
    """The weighted mean of a branch's members, or of only the confident ones if more than 70 % of the members agree."""
    scored = [(vote.score, vote.weight) for vote in votes if vote.branch == branch and vote.score is not None]
    if not scored:
        return Score(None, f"no {branch} member has a score")
    for name, agreeing in (("> .8", [s for s in scored if s[0] > 0.8]), ("< .2", [s for s in scored if s[0] < 0.2])):
        if len(agreeing) > 0.7 * len(scored):
            rule = f"{len(agreeing)} of {len(scored)} {branch} members {name}: weighted mean of those"
            return Score(_weighted_mean(agreeing), rule)
    return Score(_weighted_mean(scored), f"weighted mean of all {len(scored)} {branch} members")


def ensemble(votes: Mapping[str, Vote]) -> Ensemble:
    """The final score: .4 of the video branch plus .6 of the image branch, or the only branch that has a score."""
    video, image = (branch_score(list(votes.values()), branch) for branch in ("video", "image"))
    if video.value is None or image.value is None:
        only = image if video.value is None else video
        return Ensemble(only, video, image)
    value = BRANCH_WEIGHTS["video"] * video.value + BRANCH_WEIGHTS["image"] * image.value
    return Ensemble(Score(value, f"{BRANCH_WEIGHTS['video']} video + {BRANCH_WEIGHTS['image']} image"), video, image)


def _weighted_mean(scored: Sequence[tuple[float, float]]) -> float:
    return math.fsum(score * weight for score, weight in scored) / math.fsum(weight for _, weight in scored)
