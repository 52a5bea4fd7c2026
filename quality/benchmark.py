"""Score a public data set and measure what is usual in this field, after a check of the copy.

Reads  a data set as it is distributed (quality.layouts): ffpp, dfd, celebdf1, celebdf2, celebdf3, dfdc, dfdcp; a
       `folder` with real/ and fake/; a `csv`, which is a folder with labels.csv; or `deepfakebench`, ready-made crops
       with DeepfakeBench's JSON, in which DF40 comes too
Writes DIR/benchmark.json     overall and by manipulation: each measure as [value, low, high] with its 95 % interval
       DIR/benchmark.md       the same as a table, the worst manipulation first
       DIR/protocols.md       with --protocols: the AUC as others would report it from the same scores
       DIR/scores.csv         dataset,key,compression,label,score,status; no video is dropped; scores.json beside it
       DIR/scores_gend.csv    the same in GenD's columns
       DIR/truth.csv          filename,label,original,subset, for quality.evaluate and quality.compare
       DIR/of.json            which videos: another set, root, split or compression needs another --output
       DIR/roc.png            a curve for each manipulation against all reals
       DIR/check.json         what is wrong with the copy
       DIR/submission.csv and .jsonl, as inference.predict writes them

The check runs first, and alone with --check: missing, empty, unreadable and extra files, splits that share originals
or persons, one content under two labels, labels turned round. The exit status is then 1 if the official list is not
whole. A video without a score counts as .5 (`overall`), and is left out (`overall_scored`).

If it is killed, run it again and it goes on. With --shard i/n, or in a Slurm array, it scores every n-th video; run it
without --shard when all are done.

    python -m quality.benchmark ffpp --root FaceForensics --compression c23 --check
    python -m quality.benchmark celebdf2 --root Celeb-DF-v2 --split test --protocols
    python -m quality.benchmark ffpp --root FaceForensics --detector theirs.py   # def predict(path: str) -> float
"""

import argparse
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score, roc_curve

from common.atomic import atomic_file, write_table, write_text
from common.errors import BadInputError
from common.script import positive, run_script
from common.shard import Shard, parse_shard, shard_of_array
from common.status import UNREADABLE, Status
from inference.merge import read_shards, shard_files
from inference.plan import Settings, plan
from inference.predict import add_scoring_options, score_videos, settings_of, shard_output
from inference.rows import Row, write_submission
from inference.run import Output
from quality import protocols
from quality.doctor import Finding, counts, examine
from quality.evaluate import without_nan
from quality.foreign import load_detector, score_by
from quality.layouts import COMPRESSIONS, LAYOUTS, How, Item, extra, read_items
from quality.measures import equal_error_rate, found_at, intervals
from quality.ready import score_ready
from quality.score_files import Scored, write_gend, write_scored

THRESHOLD = 0.5  # of the accuracy
SPLITS = ("train", "val", "test")
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


def select(items: Sequence[Item], split: str, manipulations: Sequence[str] | None, most: int | None) -> list[Item]:
    """The items of a split, the reals and some manipulations, at most so many, spread evenly over the list.

    Raises BadInputError if nothing is left, naming what there is.
    """
    splits = sorted({item.split for item in items})
    of_split = [item for item in items if split in ("all", item.split)]
    if not of_split:
        raise BadInputError(f"no video is of the split {split}; there are {', '.join(splits) or 'no videos at all'}")
    known = sorted({item.manipulation for item in of_split} - {""})
    if manipulations is not None:
        if unknown := set(manipulations) - set(known):
            raise BadInputError(f"unknown manipulations {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        of_split = [item for item in of_split if item.manipulation in ("", *manipulations)]
    in_order = sorted(of_split, key=lambda item: (item.manipulation, item.key))
    if most is None or most >= len(in_order):
        return in_order
    return [in_order[number * len(in_order) // most] for number in range(most)]


def video_measures(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """The measures of videos; NaN where a class is missing."""
    both = 0 < labels.sum() < len(labels)
    losses = (
        [log_loss(labels[labels == kind], scores[labels == kind], labels=[0, 1]) for kind in (0, 1)] if both else []
    )
    return {
        "video_auc": float(roc_auc_score(labels, scores)) if both else math.nan,
        "average_precision": float(average_precision_score(labels, scores)) if both else math.nan,
        "eer": equal_error_rate(labels, scores) if both else math.nan,
        "log_loss": float(log_loss(labels, scores, labels=[0, 1])),
        "balanced_log_loss": float(np.mean(losses)) if both else math.nan,
        "accuracy": float(np.mean((scores > THRESHOLD) == labels)),
        "recall_at_1_percent": found_at(labels, scores, 0.01) if both else math.nan,
        "recall_at_5_percent": found_at(labels, scores, 0.05) if both else math.nan,
    }


def frame_auc(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """The area under the ROC curve over groups of frames."""
    return {"frame_auc": float(roc_auc_score(labels, scores)) if 0 < labels.sum() < len(labels) else math.nan}


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


def videos_of(items: Sequence[Item], rows: Mapping[str, Row]) -> Videos:
    """What is measured: a video's label counts, and the groups of the face that is seen longest."""
    mine = [rows[item.key] for item in items]
    return Videos(
        np.array([item.label for item in items]),
        np.array([row.label for row in mine]),
        np.array([item.original for item in items]),
        [row.each_face[0].groups if row.each_face and row.status == Status.OK else () for row in mine],
    )


def report_of(items: Sequence[Item], rows: Mapping[str, Row], rounds: int) -> dict[str, Any]:
    """The content of benchmark.json but for what the run was."""
    videos = videos_of(items, rows)
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
    }


def coverage(items: Sequence[Item], rows: Mapping[str, Row]) -> dict[str, dict[str, int]]:
    """How many videos of each manipulation have each status."""
    found: dict[str, Counter[str]] = {}
    for item in items:
        found.setdefault(item.manipulation or "real", Counter())[rows[item.key].status] += 1
    return {name: dict(statuses) for name, statuses in found.items()}


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


def score(items: Sequence[Item], root: Path, settings: Settings, output: Path, shard: Shard | None) -> list[Row]:
    """Score the items' videos, or those of a shard; rows that shards left are taken over if they could be read.

    Raises BadInputError for shards of other members, weights or options.
    """
    paths = {item.key: root / item.key for item in items}
    if shard:
        return score_videos(shard.of(paths), settings, Output(shard_output(output, shard), is_shard=True))
    known: dict[str, Row] = {}
    digest = plan(settings).digest
    if shard_files(output, ".jsonl"):
        known = {name: row for name, row in read_shards(output).items() if name in paths}
        if any(row.run != digest for row in known.values()):
            raise BadInputError(f"the shards of {output} were scored with other members, weights or options")
        known = {name: row for name, row in known.items() if row.status not in UNREADABLE}  # the file may be mended
    left = {name: path for name, path in paths.items() if name not in known}
    if left:
        known |= {row.filename: row for row in score_videos(left, settings, Output(output))}
    rows = [known[name] for name in paths]
    write_submission(output, rows)
    return rows


def by_detector(file: Path, items: Sequence[Item], root: Path, folder: Path) -> tuple[dict[str, Row], dict[str, Any]]:
    """Rows by another detector, and what it was; the rows of an earlier, killed run by the same file stay."""
    detector = load_detector(file)
    paths = {item.key: root / item.key for item in items}
    return score_by(detector, paths, folder / "submission.csv"), {"detector": str(file), "sha256": detector.digest}


def refuse_absent(items: Sequence[Item], root: Path, compression: str) -> None:
    """Raise BadInputError if nothing of the items is on disk: the root or the compression is another one."""
    names = [name for item in items for name in (item.frames or (item.key,))]
    if not any((root / name).is_file() for name in names):
        raise BadInputError(
            f"none of the {len(items)} videos is below {root}, such as {names[0]}; is --root right, "
            f"and is the copy's compression {compression}?"
        )


def how_of(options: argparse.Namespace, items: Sequence[Item]) -> dict[str, Any]:
    """Which videos are measured, as benchmark.json holds it."""
    return {
        "dataset": options.set,
        "root": str(options.root.resolve()),
        "split": options.split,
        "compression": options.compression if LAYOUTS[options.set].compressed else "",
        "manipulations": sorted({item.manipulation for item in items} - {""}),
        "videos": len(items),
    }


def refuse_other(folder: Path, how: Mapping[str, Any]) -> None:
    """Note which videos the folder is for. Raises BadInputError if it is for others: their results would be lost."""
    file = folder / "of.json"
    if file.is_file() and (before := json.loads(file.read_text(encoding="utf-8"))) != how:
        changed = ", ".join(f"{name} {before.get(name)}" for name in how if before.get(name) != how[name])
        raise BadInputError(f"{folder} holds a benchmark of other videos ({changed}): choose another --output")
    write_text(file, json.dumps(how, indent=1) + "\n")


def write_check(folder: Path, findings: Sequence[Finding]) -> bool:
    """Print and write what is wrong with the copy; return whether the official list is not whole."""
    for finding in findings:
        print(f"benchmark: {finding}")
    write_text(folder / "check.json", json.dumps([asdict(finding) for finding in findings], indent=1) + "\n")
    return any(finding.breaks for finding in findings)


def write_scores(folder: Path, dataset: str, compression: str, items: Sequence[Item], rows: Mapping[str, Row]) -> None:
    """Write scores.csv and scores_gend.csv, and truth.csv for quality.evaluate and quality.compare."""
    scored = [
        Scored(dataset, item.key, compression, item.label, row.label if row.status == Status.OK else None, row.status)
        for item in items
        for row in [rows[item.key]]
    ]
    write_scored(folder / "scores.csv", scored)
    write_gend(folder / "scores_gend.csv", scored)
    truth = [(item.key, item.label, item.original, item.manipulation) for item in items]
    write_table(folder / "truth.csv", [("filename", "label", "original", "subset"), *truth])


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=LAYOUTS, metavar="SET", help=", ".join(LAYOUTS))
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="where the data set lies")
    parser.add_argument("--split", choices=(*SPLITS, "all"), default="test", help="default: test")
    parser.add_argument("--manipulation", metavar="A,B", help="default: all of them")
    parser.add_argument(
        "--compression", choices=COMPRESSIONS, default="c23", help="of ffpp, dfd and deepfakebench (default: c23)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="of deepfakebench (default: the only one in the root)"
    )
    parser.add_argument("--max-videos", type=positive, metavar="N", help="spread evenly over the list")
    parser.add_argument("--check", action="store_true", help="only check the copy")
    parser.add_argument("--protocols", action="store_true", help="also the AUC as others report it")
    parser.add_argument(
        "--explain", type=float, metavar="AUC", help="a published figure: what each choice makes of the distance"
    )
    parser.add_argument(
        "--detector", type=Path, metavar="FILE.py", help="score with its predict(path) -> float instead of the members"
    )
    parser.add_argument("--rounds", type=positive, default=1000, help="of the bootstrap (default: 1000)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: benchmark/SET")
    parser.add_argument("--shard", type=parse_shard, metavar="i/n", help="default: the Slurm array's, else all")
    add_scoring_options(parser)
    return parser.parse_args()


def main() -> int:
    """Check, score, measure, write; return 1 if the list is not whole or a video could not be read."""
    options = parse_arguments()
    folder: Path = options.output or Path("benchmark") / options.set
    in_array = "SLURM_ARRAY_TASK_ID" in os.environ
    shard: Shard | None = options.shard or (shard_of_array() if in_array else None)
    everything = read_items(options.set, options.root, How(options.compression, options.json))
    manipulations = options.manipulation.split(",") if options.manipulation else None
    items = select(everything, options.split, manipulations, options.max_videos)
    print(f"benchmark: {LAYOUTS[options.set].title}, {options.split}: {counts(items)}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    broken = False
    if shard is None or options.check:
        fetch = LAYOUTS[options.set].fetch.format(root=options.root, compression=COMPRESSIONS[options.compression][-1])
        others = extra(options.set, options.root, options.compression, everything)
        broken = write_check(folder, examine(options.root, items, everything, others, fetch, options.workers))
    if options.check:
        print(f"benchmark: the list is {'not whole' if broken else 'whole'}; {folder / 'check.json'}")
        return int(broken)
    refuse_absent(items, options.root, options.compression)
    refuse_other(folder, how_of(options, items))
    settings = settings_of(options)
    scored_by: dict[str, Any]
    if options.detector:
        if shard:
            raise BadInputError("--detector scores in one process: no --shard")
        rows, scored_by = by_detector(options.detector, items, options.root, folder)
    elif options.set == "deepfakebench":
        if shard:
            raise BadInputError("ready-made crops are scored in one process: no --shard")
        rows, scored_by = score_ready(items, options.root, settings, folder / "submission.csv")
    else:
        rows = {row.filename: row for row in score(items, options.root, settings, folder / "submission.csv", shard)}
        scored_by = asdict(plan(settings).provenance)
    if shard:
        print(f"benchmark: shard {shard} is scored; run it without --shard when all are")
        return 0
    report = report_of(items, rows, options.rounds)
    how = how_of(options, items) | {
        "threshold": THRESHOLD,
        "protocol": "video: the contract's policy over faces and groups; frame: groups of five frames of one face",
        "rounds": options.rounds,
        "run": scored_by,
    }
    content = how | report
    write_text(folder / "benchmark.json", json.dumps(without_nan(content), indent=1, default=str) + "\n")
    write_text(folder / "scores.json", json.dumps(how | {"coverage": report["coverage"]}, indent=1, default=str) + "\n")
    write_scores(folder, options.set, how["compression"], items, rows)
    write_text(folder / "benchmark.md", table(report) + "\n")
    draw(folder / "roc.png", videos_of(items, rows), items)
    print(f"\n{table(report)}\n")
    if options.protocols or options.explain is not None:
        said = protocols.lines(items, rows)
        write_text(folder / "protocols.md", protocols.table(said) + "\n")
        print(f"{protocols.table(said)}\n")
        if options.explain is not None:
            print(f"{protocols.explain(said, options.explain)}\n")
    lost = sum(row.status in UNREADABLE for row in rows.values())
    print(f"benchmark: {len(items)} videos, {lost} could not be read; {folder / 'benchmark.json'}")
    return int(broken or lost > 0)


if __name__ == "__main__":
    run_script(main)
