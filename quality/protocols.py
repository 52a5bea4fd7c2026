"""The same scores as others would report them, so that figures can be compared.

Every row of the table takes the scores that a benchmark stored, and puts them together in another way. "Frames" are
groups of five frames of a face.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.status import Status
from inference.results import Result
from quality.measures import auc
from quality.sets.layouts import Item

Scored = list[tuple[int, float]]  # label (1 FAKE), score


class Protocol(NamedTuple):
    """How scores become an AUC, and whose published figures are made so."""

    name: str
    whose: str
    scores: Callable[[Sequence[Item], Mapping[str, Result]], Scored]


class Line(NamedTuple):
    """A protocol's AUC, NaN where a class is missing, over so many scores; `apart` is its distance from the first."""

    name: str
    auc: float
    scores: int
    apart: float
    whose: str


def with_frames(items: Sequence[Item], rows: Mapping[str, Result]) -> list[tuple[Item, tuple[tuple[float, ...], ...]]]:
    """The items that have a score, with the frames' scores of each face; the others left out."""
    found = []
    for item in items:
        row = rows[item.key]
        faces = tuple(face.groups for face in row.faces if face.groups and face.decides)
        if row.status == Status.OK and faces:
            found.append((item, faces))
    return found


def whole_videos(items: Sequence[Item], rows: Mapping[str, Result]) -> Scored:
    """The contract's policy; a video without a score is .5."""
    return [(item.label, rows[item.key].label) for item in items]


def only_scored(items: Sequence[Item], rows: Mapping[str, Result]) -> Scored:
    """The contract's policy; a video without a score is left out."""
    return [(item.label, rows[item.key].label) for item in items if rows[item.key].status == Status.OK]


def mean_of_frames(items: Sequence[Item], rows: Mapping[str, Result]) -> Scored:
    """A video's score is the mean over the frames of its first face."""
    return [(item.label, float(np.mean(faces[0]))) for item, faces in with_frames(items, rows)]


def by_folder_name(items: Sequence[Item], rows: Mapping[str, Result]) -> Scored:
    """The mean over all frames of videos with one name: the four fakes of a pair count as one video."""
    frames: dict[str, list[float]] = defaultdict(list)
    labels: dict[str, int] = {}
    for item, faces in with_frames(items, rows):
        name = Path(item.key).stem
        frames[name] += faces[0]
        labels.setdefault(name, item.label)
    return [(labels[name], float(np.mean(mine))) for name, mine in frames.items()]


def highest_face(items: Sequence[Item], rows: Mapping[str, Result]) -> Scored:
    """The highest face of each frame, then the mean over frames."""
    return [
        (item.label, float(np.mean([max(together) for together in zip(*faces, strict=True)])))
        for item, faces in with_frames(items, rows)
    ]


def frames_alone(items: Sequence[Item], rows: Mapping[str, Result]) -> Scored:
    """Every frame of the first face counts."""
    return [(item.label, score) for item, faces in with_frames(items, rows) for score in faces[0]]


def half_of_reals(items: Sequence[Item], rows: Mapping[str, Result]) -> Scored:
    """Every second real video, in the order of names, and all fakes; the mean of frames."""
    reals = sorted(item.key for item in items if not item.label)
    dropped = set(reals[1::2])
    return mean_of_frames([item for item in items if item.key not in dropped], rows)


PROTOCOLS = (
    Protocol("whole videos", "ours: the contract's policy, no score counts as .5", whole_videos),
    Protocol("whole videos that have a score", "those who leave out videos without a face", only_scored),
    Protocol("mean of frames", "most papers since 2023, at video level", mean_of_frames),
    Protocol("mean of frames by folder name", "DeepfakeBench's video AUC on FaceForensics++", by_folder_name),
    Protocol("highest face, mean of frames", "self-blending (Shiohara and Yamasaki, CVPR 2022)", highest_face),
    Protocol("frames", "DeepfakeBench's AUC (Yan et al., NeurIPS 2023), at frame level", frames_alone),
    Protocol("mean of frames, half of the reals", "those who balance the classes", half_of_reals),
)


def auc_of(scored: Scored) -> float:
    """The area under the ROC curve, NaN if a class is missing."""
    return auc(*(np.array([pair[at] for pair in scored]) for at in (0, 1)))


def lines(items: Sequence[Item], rows: Mapping[str, Result]) -> list[Line]:
    """A line for each protocol, ours first."""
    found: list[Line] = []
    for name, whose, scores in PROTOCOLS:
        scored = scores(items, rows)
        area = auc_of(scored)
        found.append(Line(name, area, len(scored), area - (found[0].auc if found else area), whose))
    return found


def table(found: Sequence[Line]) -> str:
    """The lines as a Markdown table."""
    head = ["| protocol | AUC | scores | against ours | whose figures are made so |", "|---|---|---|---|---|"]
    return "\n".join(
        [
            *head,
            *(f"| {line.name} | {line.auc:.4f} | {line.scores} | {line.apart:+.4f} | {line.whose} |" for line in found),
        ]
    )


def explain(found: Sequence[Line], target: float) -> str:
    """How much of the distance between our AUC and a published one each protocol makes, one line each."""
    ours = found[0].auc
    said = [f"published {target:.4f}, ours {ours:.4f}: {target - ours:+.4f} to explain"]
    for line in found[1:]:
        share = f", {line.apart / (target - ours):.0%} of it" if abs(target - ours) > 5e-5 else ""
        said.append(f"  {line.name}: {line.apart:+.4f}{share}")
    nearest = min(found, key=lambda line: math.inf if math.isnan(line.auc) else abs(line.auc - target))
    left = target - nearest.auc
    said.append(f"nearest is {nearest.name} with {nearest.auc:.4f}; {left:+.4f} remain for weights, crops and lists")
    return "\n".join(said)
