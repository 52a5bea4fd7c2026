"""The AUC of the same scores by other protocols, so that it can be compared with published figures.

Each protocol takes the scores that a benchmark stored, and combines them in its own way. "Frames" are groups of five
frames of a face.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.status import Status
from inference.results import Result
from quality.measures import measure
from quality.sets.items import SCENARIOS, Item

LabelledScores = list[tuple[int, float]]  # label (1 FAKE), score in [0, 1]
Results = Mapping[str, Result]  # by the key of the item
FaceFrames = tuple[tuple[float, ...], ...]  # for each face the scores of its frames


class Protocol(NamedTuple):
    """How scores become an AUC, and who publishes figures made this way."""

    name: str
    whose: str
    scores: Callable[[Sequence[Item], Results], LabelledScores]


class ProtocolAuc(NamedTuple):
    """The AUC by a protocol, NaN where a class is missing, the number of its scores, and its difference from ours."""

    name: str
    auc: float
    scores: int
    difference: float
    whose: str


def with_frames(items: Sequence[Item], results: Results) -> list[tuple[Item, FaceFrames]]:
    """The items that have a score, with the frames' scores of each face that decides; the others are left out."""
    scored = []
    for item in items:
        result = results[item.key]
        faces = tuple(face.groups for face in result.faces if face.groups and face.decides)
        if result.status == Status.OK and faces:
            scored.append((item, faces))
    return scored


def whole_videos(items: Sequence[Item], results: Results) -> LabelledScores:
    """The reference's policy; a video without a score counts as 0.5."""
    return [(item.label, results[item.key].label) for item in items]


def only_scored(items: Sequence[Item], results: Results) -> LabelledScores:
    """The reference's policy; a video without a score is left out."""
    return whole_videos([item for item in items if results[item.key].status == Status.OK], results)


def mean_of_frames(items: Sequence[Item], results: Results) -> LabelledScores:
    """A video's score is the mean over the frames of its first face."""
    return [(item.label, float(np.mean(faces[0]))) for item, faces in with_frames(items, results)]


def by_folder_name(items: Sequence[Item], results: Results) -> LabelledScores:
    """The mean over all frames of videos with the same name: the four fakes of a pair count as one video."""
    frames: dict[str, list[float]] = defaultdict(list)
    labels: dict[str, int] = {}
    for item, faces in with_frames(items, results):
        name = Path(item.key).stem
        frames[name] += faces[0]
        labels.setdefault(name, item.label)
    return [(labels[name], float(np.mean(scores))) for name, scores in frames.items()]


def highest_face(items: Sequence[Item], results: Results) -> LabelledScores:
    """The highest face of each frame, then the mean over frames."""
    return [
        (item.label, float(np.mean([max(of_frame) for of_frame in zip(*faces, strict=True)])))
        for item, faces in with_frames(items, results)
    ]


def frames_alone(items: Sequence[Item], results: Results) -> LabelledScores:
    """Every frame of the first face counts."""
    return [(item.label, score) for item, faces in with_frames(items, results) for score in faces[0]]


def half_of_real(items: Sequence[Item], results: Results) -> LabelledScores:
    """The mean of frames of every second real video, in the order of names, and of all fakes."""
    real = sorted(item.key for item in items if not item.label)
    dropped = set(real[1::2])
    return mean_of_frames([item for item in items if item.key not in dropped], results)


def of_scenario(scenario: str, items: Sequence[Item], results: Results) -> LabelledScores:
    """Ours, with the fakes of a scenario alone, and all real videos."""
    return whole_videos([item for item in items if not item.label or item.scenario == scenario], results)


PROTOCOLS = (
    Protocol("whole videos", "ours: the reference's policy, no score counts as 0.5", whole_videos),
    Protocol("whole videos that have a score", "those who leave out videos without a face", only_scored),
    Protocol("mean of frames", "most papers since 2023, at video level", mean_of_frames),
    Protocol("mean of frames by folder name", "DeepfakeBench's video AUC on FaceForensics++", by_folder_name),
    Protocol("highest face, mean of frames", "self-blending (Shiohara and Yamasaki, CVPR 2022)", highest_face),
    Protocol("frames", "DeepfakeBench's AUC (Yan et al., NeurIPS 2023), at frame level", frames_alone),
    Protocol("mean of frames, half of the real videos", "those who balance the classes", half_of_real),
)


def scenario_protocols(items: Sequence[Item]) -> list[Protocol]:
    """A protocol for each scenario that the items' fakes have, as Celeb-DF++ and KoDF sort theirs."""
    whose = "by scenario, as Celeb-DF++ does (Li et al., 2025)"
    known = {item.scenario for item in items}
    return [Protocol(f"whole videos, {name}", whose, partial(of_scenario, name)) for name in SCENARIOS if name in known]


def protocol_aucs(items: Sequence[Item], results: Results) -> list[ProtocolAuc]:
    """The AUC by each protocol, ours first; `results` by the items' keys."""
    aucs: list[ProtocolAuc] = []
    for name, whose, combine in (*PROTOCOLS, *scenario_protocols(items)):
        scored = combine(items, results)
        labels, scores = np.array(scored).reshape(-1, 2).T
        auc = measure("auc", labels, scores)
        aucs.append(ProtocolAuc(name, auc, len(scored), auc - (aucs[0].auc if aucs else auc), whose))
    return aucs


def table(aucs: Sequence[ProtocolAuc]) -> str:
    """The AUCs as a Markdown table."""
    lines = ["| protocol | AUC | scores | difference | who publishes figures made this way |", "|---|---|---|---|---|"]
    for line in aucs:
        lines.append(f"| {line.name} | {line.auc:.4f} | {line.scores} | {line.difference:+.4f} | {line.whose} |")
    return "\n".join(lines)


def explain(aucs: Sequence[ProtocolAuc], published: float) -> str:
    """How much of the difference between our AUC and a published one each protocol explains, one line each."""
    ours = aucs[0].auc
    gap = published - ours
    lines = [f"published {published:.4f}, ours {ours:.4f}: {gap:+.4f} to explain"]
    for other in aucs[1:]:
        share = f", {other.difference / gap:.0%} of it" if abs(gap) > 5e-5 else ""
        lines.append(f"  {other.name}: {other.difference:+.4f}{share}")
    nearest = min(aucs, key=lambda line: math.inf if math.isnan(line.auc) else abs(line.auc - published))
    rest = published - nearest.auc
    lines.append(f"nearest is {nearest.name} with {nearest.auc:.4f}; {rest:+.4f} remain for weights, crops and lists")
    return "\n".join(lines)
