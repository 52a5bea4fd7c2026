"""What a benchmark measured: measures with intervals, overall and by manipulation, as JSON, table and picture."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from matplotlib.figure import Figure

from common.status import Status
from inference.results import Result
from quality.measures import Statistics, intervals, measure
from quality.sets.items import Item
from quality.videos import Videos, draw_roc, save_figure

SCHEMA = 1  # of benchmark.json
Values = dict[str, tuple[float, float, float]]  # a measure's value and its 95% interval
# Names in benchmark.json, and those of quality.measures.MEASURES.
VIDEO_MEASURES = {"video_auc": "auc"} | {
    name: name
    for name in (
        *("average_precision", "eer", "log_loss", "balanced_log_loss", "accuracy"),
        *("recall_at_1_percent", "recall_at_5_percent"),
    )
}
FRAME_MEASURES = {"frame_auc": "auc"}


class Measured(TypedDict):
    """What was measured of scored videos."""

    overall: Values
    overall_scored: Values  # of videos that have a score; empty if there are none
    by_manipulation: dict[str, Values]  # its fakes and all real videos; the hardest first
    coverage: dict[str, dict[str, int]]  # how many videos of each manipulation, or "real", have each status
    by_known: dict[str, dict[str, str]]  # why the faces of a video were scored, if a mask chose them


class Report(Measured):
    """The content of benchmark.json: which videos were scored, how, and what was measured."""

    schema: int
    dataset: str
    root: str
    split: str
    compression: str  # empty if the set has only one
    manipulations: list[str]
    all_manipulations: bool  # whether none was left out on purpose
    max_videos: int | None
    videos: int
    threshold: float  # of the accuracy
    protocol: str
    rounds: int  # of the bootstrap
    run: dict[str, Any]  # provenance of the members as in the evidence, or file and sha256 of an external detector


def scored_videos(items: Sequence[Item], results: Mapping[str, Result]) -> Videos:
    """The items' videos with the scores of their results, by key; their subsets are the manipulations."""
    return Videos(
        names=np.array([item.key for item in items]),
        labels=np.array([item.label for item in items]),
        scores=np.array([results[item.key].label for item in items]),
        originals=np.array([item.original for item in items]),
        statuses=np.array([str(results[item.key].status) for item in items]),
        subsets=np.array([item.manipulation for item in items]),
    )


def scored_frames(videos: Videos, results: Mapping[str, Result]) -> Videos:
    """The same with an entry for each group of five frames: of the face that is seen longest, if there is a score."""
    faces = [results[name].faces if results[name].status == Status.OK else () for name in videos.names.tolist()]
    groups = [of_video[0].groups if of_video else () for of_video in faces]
    repeated = videos[np.repeat(np.arange(len(groups)), [len(scores) for scores in groups])]
    scores = np.array([score for of_video in groups for score in of_video], float)
    return replace(repeated, scores=scores)


def with_intervals(videos: Videos, frames: Videos, rounds: int) -> Values:
    """All measures with their intervals, by `rounds` of the bootstrap over originals."""
    values: Values = {}
    for part, names in ((videos, VIDEO_MEASURES), (frames, FRAME_MEASURES)):
        if len(part.labels):
            statistics = named_measures(names)
            ranges = intervals(statistics, part.labels, part.scores, part.originals, rounds)
            values |= {name: (value, *ranges[name]) for name, value in statistics(part.labels, part.scores).items()}
    return values


def named_measures(names: Mapping[str, str]) -> Statistics:
    """A function that gives measures of labels and scores, under names of their own."""
    return lambda labels, scores: {name: measure(known, labels, scores) for name, known in names.items()}


def report_of(items: Sequence[Item], results: Mapping[str, Result], rounds: int) -> Measured:
    """The content of benchmark.json, without what describes the run; `results` by the items' keys."""
    videos = scored_videos(items, results)
    frames = scored_frames(videos, results)
    scored = videos[videos.statuses == Status.OK]
    by_manipulation = {
        name: with_intervals(with_real(videos, name), with_real(frames, name), rounds) for name in manipulations(videos)
    }
    worst_first = sorted(by_manipulation.items(), key=lambda entry: entry[1]["video_auc"][0])
    return {
        "overall": with_intervals(videos, frames, rounds),
        "overall_scored": with_intervals(scored, frames, rounds) if len(scored.labels) else {},
        "by_manipulation": dict(worst_first),
        "coverage": coverage(items, results),
        "by_known": {item.key: results[item.key].chosen_by for item in items if results[item.key].chosen_by},
    }


def manipulations(videos: Videos) -> list[str]:
    """The names of the manipulations, in order."""
    return sorted(set(videos.subsets.tolist()) - {""})


def with_real(videos: Videos, manipulation: str) -> Videos:
    """The fakes of a manipulation, and all real videos."""
    return videos[(videos.subsets == manipulation) | (videos.subsets == "")]


def coverage(items: Sequence[Item], results: Mapping[str, Result]) -> dict[str, dict[str, int]]:
    """How many videos of each manipulation have each status."""
    counts: dict[str, Counter[str]] = {}
    for item in items:
        counts.setdefault(item.manipulation or "real", Counter())[results[item.key].status] += 1
    return {name: dict(statuses) for name, statuses in counts.items()}


def mask_table(items: Sequence[Item], results: Mapping[str, Result]) -> str:
    """A Markdown table of what became of the masks, by manipulation; empty if there were none.

    Videos without a score do not count.
    """
    scored = [item for item in items if item.label and results[item.key].status == Status.OK]
    lines = []
    for name in sorted({item.manipulation for item in scored}):
        chosen_by = [results[item.key].chosen_by for item in scored if item.manipulation == name]
        masks = [reasons["mask"] for reasons in chosen_by if "mask" in reasons]
        if masks:
            lines.append(f"| {name} | {count_words(masks)} | {len(chosen_by) - len(masks)} |")
    head = ["| | mask | no mask: the reference's policy |", "|---|---|---|"]
    return "\n".join([*head, *lines]) if lines else ""


def count_words(words: Iterable[str]) -> str:
    """How often each word comes, the most frequent first."""
    return ", ".join(f"{number} {word}" for word, number in Counter(words).most_common())


def table(report: Measured) -> str:
    """The report as a Markdown table. Where videos have no score, the first row is of those that have one."""
    names, counts = list(report["overall"]), report["coverage"]
    lines = ["| | videos | missing | no score | " + " | ".join(names) + " |", "|---" * (4 + len(names)) + "|"]
    parts = {"overall": report["overall"], **report["by_manipulation"]}
    unscored = sum(sum(statuses.values()) - statuses.get(Status.OK, 0) for statuses in counts.values())
    if unscored and report["overall_scored"]:
        parts = {"only scored videos": report["overall_scored"], **parts}
    for part, values in parts.items():
        of_part = [counts[part], counts.get("real", {})] if part in counts else list(counts.values())
        scored, missing = (sum(part.get(status, 0) for part in of_part) for status in (Status.OK, Status.MISSING))
        videos = sum(sum(statuses.values()) for statuses in of_part)
        numbers = (scored, 0, 0) if part == "only scored videos" else (videos, missing, videos - scored)
        cells = [table_cell(*values[name]) if name in values else "" for name in names]
        lines.append(f"| {part} | {' | '.join(map(str, numbers))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table_cell(value: float, low: float, high: float) -> str:
    """A measure and its interval, or nothing where it is not defined."""
    return "" if math.isnan(value) else f"{value:.4f} ({low:.3f} to {high:.3f})"


def draw(path: Path, videos: Videos) -> None:
    """Draw the ROC curve of each manipulation against all real videos."""
    figure = Figure(figsize=(6, 6), layout="constrained")
    draw_roc(figure.subplots(), {name: with_real(videos, name) for name in manipulations(videos)})
    save_figure(figure, path)
