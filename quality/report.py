"""What a benchmark found: measures with intervals, overall and by manipulation, as JSON, table and picture."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, roc_curve

from common.files import atomic_file
from common.status import Status
from inference.results import Result
from quality.measures import auc, found_at, intervals, measures
from quality.sets.layouts import Item

Values = dict[str, tuple[float, float, float]]  # a measure's value and its 95 % interval


@dataclass(frozen=True)
class Videos:
    """Arrays of one length; `frames` holds the scores of each video's groups of five frames."""

    labels: np.ndarray
    scores: np.ndarray
    originals: np.ndarray
    frames: list[tuple[float, ...]]

    def __getitem__(self, chosen: np.ndarray) -> "Videos":
        frames = [mine for mine, wanted in zip(self.frames, chosen, strict=True) if wanted]
        return Videos(self.labels[chosen], self.scores[chosen], self.originals[chosen], frames)


def video_measures(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """The measures of videos; NaN where a class is missing."""
    both, known = 0 < labels.sum() < len(labels), measures(labels, scores)
    return {
        "video_auc": known["auc"],
        "average_precision": float(average_precision_score(labels, scores)) if both else math.nan,
        **{name: known[name] for name in ("eer", "log_loss", "balanced_log_loss", "accuracy")},
        "recall_at_1_percent": found_at(labels, scores, 0.01) if both else math.nan,
        "recall_at_5_percent": found_at(labels, scores, 0.05) if both else math.nan,
    }


def frame_auc(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """The area under the ROC curve over groups of frames."""
    return {"frame_auc": auc(labels, scores)}


def measured(videos: Videos, rounds: int) -> Values:
    """All measures with their intervals, by drawing originals."""
    lengths = [len(frames) for frames in videos.frames]
    frames = np.array([score for mine in videos.frames for score in mine])
    of_frames = np.repeat(videos.labels, lengths), frames, np.repeat(videos.originals, lengths)
    of_videos = videos.labels, videos.scores, videos.originals
    found: Values = {}
    for (labels, scores, originals), of in ((of_videos, video_measures), (of_frames, frame_auc)):
        if len(labels):
            ranges = intervals(labels, scores, originals, rounds, of=of)
            found |= {name: (value, *ranges[name]) for name, value in of(labels, scores).items()}
    return found


def scored_videos(items: Sequence[Item], rows: Mapping[str, Result]) -> Videos:
    """What is measured: a video's label counts, and the groups of the face that is seen longest."""
    mine = [rows[item.key] for item in items]
    return Videos(
        np.array([item.label for item in items]),
        np.array([row.label for row in mine]),
        np.array([item.original for item in items]),
        [row.faces[0].groups if row.faces and row.status == Status.OK else () for row in mine],
    )


def report_of(items: Sequence[Item], rows: Mapping[str, Result], rounds: int) -> dict[str, Any]:
    """The content of benchmark.json but for what the run was."""
    videos = scored_videos(items, rows)
    scored = np.array([rows[item.key].status == Status.OK for item in items])
    manipulations = np.array([item.manipulation for item in items])
    parts = {
        name: measured(videos[(manipulations == name) | (manipulations == "")], rounds)
        for name in sorted(set(manipulations) - {""})
    }
    worst_first = sorted(parts.items(), key=lambda part: part[1]["video_auc"][0])
    return {
        "overall": measured(videos, rounds),
        "overall_scored": measured(videos[scored], rounds) if scored.any() else {},
        "by_manipulation": dict(worst_first),
        "coverage": coverage(items, rows),
        "by_known": {item.key: rows[item.key].chosen_by for item in items if rows[item.key].chosen_by},
    }


def coverage(items: Sequence[Item], rows: Mapping[str, Result]) -> dict[str, dict[str, int]]:
    """How many videos of each manipulation have each status."""
    found: dict[str, Counter[str]] = {}
    for item in items:
        found.setdefault(item.manipulation or "real", Counter())[rows[item.key].status] += 1
    return {name: dict(statuses) for name, statuses in found.items()}


def mask_table(items: Sequence[Item], rows: Mapping[str, Result]) -> str:
    """A Markdown table of what became of masks, by manipulation; empty if there were none.

    Videos without a score do not count.
    """
    lines = []
    for name in sorted({item.manipulation for item in items} - {""}):
        of_kind = [rows[item.key] for item in items if item.manipulation == name]
        mine = [row for row in of_kind if row.status == Status.OK]
        masks = [row.chosen_by["mask"] for row in mine if "mask" in row.chosen_by]
        if masks:
            lines.append(f"| {name} | {count_words(masks)} | {len(mine) - len(masks)} |")
    head = ["| | mask | no mask: the reference's policy |", "|---|---|---|"]
    return "\n".join([*head, *lines]) if lines else ""


def count_words(words: Iterable[str]) -> str:
    """How often each comes, the most frequent first."""
    return ", ".join(f"{number} {what}" for what, number in Counter(words).most_common())


def table(report: Mapping[str, Any]) -> str:
    """The report as a Markdown table."""
    names = list(report["overall"])
    lines = ["| | videos | no score | " + " | ".join(names) + " |", "|---" * (3 + len(names)) + "|"]
    reals = report["coverage"].get("real", {})
    for part, values in {"overall": report["overall"], **report["by_manipulation"]}.items():
        of_part = report["coverage"].values() if part == "overall" else (report["coverage"][part], reals)
        videos = sum(sum(statuses.values()) for statuses in of_part)
        lost = videos - sum(statuses.get(Status.OK, 0) for statuses in of_part)
        cells = [cell(*values[name]) if name in values else "" for name in names]
        lines.append(f"| {part} | {videos} | {lost} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(value: float, low: float, high: float) -> str:
    """A measure and its interval, or nothing where it is not defined."""
    return "" if math.isnan(value) else f"{value:.4f} ({low:.3f} to {high:.3f})"


def draw(path: Path, videos: Videos, items: Sequence[Item]) -> None:
    """Draw the ROC curve of each manipulation against all reals."""
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    manipulations = np.array([item.manipulation for item in items])
    for name in sorted(set(manipulations) - {""}):
        part = videos[(manipulations == name) | (manipulations == "")]
        if 0 < part.labels.sum() < len(part.labels):
            axes.plot(*roc_curve(part.labels, part.scores)[:2], label=name)
    axes.plot((0, 1), (0, 1), ":", color="gray")
    axes.set(xlabel="REAL taken for FAKE", ylabel="FAKE found", title="ROC")
    axes.legend(fontsize="small")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
