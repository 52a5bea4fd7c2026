"""How good a submission is: measures over all videos with 95 % intervals, and by status and subset; calibration.

Reads  submission.csv (`filename,label`) or another kind of quality.score_files; the statuses in submission.jsonl
       beside it if it is there; the truth: a metadata.json of DFDC, or a CSV `filename,label[,original][,subset]` with
       labels REAL, FAKE, 0 or 1
Writes <output>/evaluation.json, roc.png, reliability.png, histogram.png; with --fit a calibration

For the intervals, originals are drawn with replacement, each with its fakes, because these are not independent. Videos
of one person are not independent either, but the truth does not name persons. If persons have several originals, the
intervals are too narrow.

    python -m quality.evaluate submission.csv metadata.json
    python -m quality.evaluate half1.csv labels.csv --fit calibration.json
    python -m quality.evaluate half2.csv labels.csv --apply calibration.json
"""

import argparse
import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_curve

from common.command import positive, run_script
from common.errors import BadInputError
from common.files import atomic_file, write_text
from common.labels import LABELS, parse_label
from common.status import Status
from inference.members import MODELS, choose_members
from inference.results import Result, read_results, utf8_name
from inference.scoring import NO_SCORE
from inference.verdicts import digests
from quality.measures import BINS, Platt, intervals, measures
from quality.operating_points import Observed, fit
from quality.score_files import read_score_file


class Truth(NamedTuple):
    """What is known of a video: label (1 FAKE), the name of its original (its own for an original), a subset or ''.

    `known` holds what else stands in its row, by column.
    """

    label: int
    original: str
    subset: str
    known: dict[str, str]


class Videos(NamedTuple):
    """Arrays of one length: labels, scores, originals, and the values by which groups of videos are measured."""

    labels: np.ndarray
    scores: np.ndarray
    originals: np.ndarray
    names: tuple[str, ...]
    groupings: dict[str, np.ndarray]  # "status", "subset"


def read_truth(path: Path) -> dict[str, Truth]:
    """The truth of each video, by file name. Raises BadInputError for a malformed file."""
    try:
        if path.suffix == ".json":
            entries = json.loads(path.read_text(encoding="utf-8"))
            rows = [{"filename": name, **entry} for name, entry in entries.items()]
        else:
            with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
                rows = list(csv.DictReader(file))
        return {row["filename"]: truth_of(row) for row in rows}
    except (BadInputError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(
            f"{path}: each video needs a filename and a label (REAL, FAKE, 0 or 1): {error!r}"
        ) from error


def truth_of(row: dict[str, str]) -> Truth:
    """What a row says of its video. Raises BadInputError for an unknown label."""
    columns = ("filename", "label", "original", "subset")
    known = {name: value for name, value in row.items() if name not in columns}
    return Truth(parse_label(row.get("label")), row.get("original") or row["filename"], row.get("subset") or "", known)


def read_scores(path: Path) -> dict[str, float]:
    """The scores of a submission, or of another kind of score file, by name; .5 for a video without a score.

    Raises BadInputError as `quality.score_files.read_score_file` does.
    """
    return {name: NO_SCORE if score is None else score for name, score in read_score_file(path).items()}


def rows_beside(submission: Path) -> dict[str, Result]:
    """The rows in the `.jsonl` beside a submission, by their names in it; none if there is no such file.

    Raises BadInputError for another file.
    """
    details = submission.with_suffix(".jsonl")
    try:
        return {utf8_name(row.filename): row for row in read_results(details)} if details.is_file() else {}
    except (TypeError, ValueError, KeyError) as error:
        raise BadInputError(f"{details} holds other rows than those of inference.predict: {error}") from error


def join(submission: Path, truth: dict[str, Truth]) -> tuple[Videos, int]:
    """The submission's videos with known truth, and the number of the others. Raises BadInputError if none has one."""
    scores = read_scores(submission)
    known = [name for name in scores if name in truth]
    if not known:
        raise BadInputError(f"{submission} and the truth have no video in common")
    details = submission.with_suffix(".jsonl")
    lines = details.read_text(encoding="utf-8").splitlines() if details.is_file() else []
    statuses = {row["filename"]: row["status"] for row in map(json.loads, lines)}
    told = [truth[name] for name in known]
    groupings = {
        "status": np.array([statuses.get(name, "") for name in known]),
        "subset": np.array([one.subset for one in told]),
    }
    values = np.array([one.label for one in told]), np.array([scores[name] for name in known])
    originals = np.array([one.original for one in told])
    return Videos(*values, originals, tuple(known), groupings), len(scores) - len(known)


def evaluation(videos: Videos, rounds: int) -> dict[str, dict[str, Any]]:
    """Measures of all videos, with intervals, and of each status and subset, without intervals."""
    found = measures(videos.labels, videos.scores)
    ranges = intervals(videos.labels, videos.scores, videos.originals, rounds)
    report = {"all": {"videos": len(videos.labels), **found, "intervals_95": ranges}}
    for kind, values in videos.groupings.items():
        for value in sorted(set(values) - {""}):
            part = values == value
            report[f"{kind} {value}"] = {
                "videos": int(part.sum()),
                **measures(videos.labels[part], videos.scores[part]),
            }
    return report


def calibrate(path: Path, videos: Videos, rows: Mapping[str, Result], models: Path, rounds: int) -> str:
    """Fit a calibration of the videos that have a score, write it, and return it in words.

    Rates are by the conditions in their rows. Without rows they are of all reals together, and of no members. Raises
    ValueError if a class is missing or higher scores do not go with FAKE, and BadInputError for rows of several runs.
    """
    mine = [rows.get(name) for name in videos.names]
    known = [row for row in mine if row]
    if len({row.run for row in known}) > 1:
        raise BadInputError("--fit: the rows are of several runs, with other members, weights or options")
    scored = [at for at, row in enumerate(mine) if (row is None and not known) or (row and row.status == Status.OK)]
    names = next((",".join(row.members) for row in known if row.members), "")
    members = digests(choose_members(names, models).members, models) if names else {}
    seen = Observed(
        labels=videos.labels[scored],
        scores=videos.scores[scored],
        originals=videos.originals[scored],
        conditions=[row.conditions if row else None for row in (mine[at] for at in scored)],
        sources=[videos.names[at] for at in scored],
    )
    platt, points, strata = fit(path, members, "videos", seen, rounds)
    said = [f"temperature {platt.temperature:.4f}, shift {platt.shift:.4f}; {path}"]
    if left := len(mine) - len(scored):
        said.append(f"  {left} videos without a score, or without a row, left out")
    for point in points:
        hint = "" if point.resolved else "; too few reals to know"
        between = f"[{point.low:.4f}, {point.high:.4f}]"
        called = f"call fake above {point.threshold:.4f} {between}: finds {point.recall:.1%}{hint}"
        said.append(f"  {point.false_positives:.1%} of reals called fake: {called}")
    whose = f"predict --calibration takes it for {names}" if names else "no members: predict --calibration refuses it"
    return "\n".join([*said, "", strata, "", whose])


def draw(videos: Videos, folder: Path) -> None:
    """Draw the three pictures; the ROC curve is left out if only one class is there."""
    labels, scores = videos.labels, videos.scores

    def roc(axes: Axes) -> None:
        if len(set(labels.tolist())) == 2:
            axes.plot(*roc_curve(labels, scores)[:2])
        axes.plot((0, 1), (0, 1), ":", color="gray")
        axes.set(xlabel="REAL taken for FAKE", ylabel="FAKE found", title="ROC")

    def reliability(axes: Axes) -> None:
        fakes, mean = calibration_curve(labels, scores, n_bins=BINS)
        axes.plot(mean, fakes, "o-")
        axes.plot((0, 1), (0, 1), ":", color="gray")
        axes.set(xlabel="mean score", ylabel="fraction of FAKE", title="reliability", xlim=(0, 1), ylim=(0, 1))

    def histogram(axes: Axes) -> None:
        axes.hist([scores[labels == 0], scores[labels == 1]], bins=20, range=(0, 1), label=list(LABELS))
        axes.set(xlabel="score", ylabel="videos", title="scores")
        axes.legend()

    for panel in (roc, reliability, histogram):
        figure = Figure(figsize=(5, 5), layout="constrained")
        panel(figure.subplots())
        with atomic_file(folder / f"{panel.__name__}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=120)


def without_nan(value: object) -> object:
    """The value with None for NaN, because JSON has no NaN; null then means not defined."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def main() -> int:
    """Read, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("submission", type=Path, metavar="CSV")
    parser.add_argument(
        "truth", type=Path, metavar="TRUTH", help="metadata.json, or a CSV filename,label[,original][,subset]"
    )
    parser.add_argument("--output", type=Path, default=Path("evaluation"), metavar="DIR", help="default: evaluation")
    parser.add_argument("--rounds", type=positive, default=1000, help="of the bootstrap (default: 1000)")
    calibration = parser.add_mutually_exclusive_group()
    calibration.add_argument(
        "--fit",
        type=Path,
        metavar="JSON",
        help="write the calibration that fits these videos best, and how many reals score as high, by their conditions",
    )
    calibration.add_argument(
        "--apply", type=Path, metavar="JSON", help="measure scores after a calibration fitted on others"
    )
    parser.add_argument(
        "--models", type=Path, default=MODELS, metavar="DIR", help=f"of --fit: checkpoints (default: {MODELS})"
    )
    options = parser.parse_args()
    videos, unknown = join(options.submission, read_truth(options.truth))
    if options.fit:
        try:
            print(calibrate(options.fit, videos, rows_beside(options.submission), options.models, options.rounds))
        except ValueError as error:
            raise BadInputError(f"--fit: {error}") from error
    if options.apply:
        try:
            content = json.loads(options.apply.read_text(encoding="utf-8"))
            applied = Platt(float(content["temperature"]), float(content["shift"]))
        except (ValueError, TypeError, KeyError) as error:
            raise BadInputError(f"--apply {options.apply}: no calibration of --fit: {error}") from error
        videos = videos._replace(scores=applied.apply(videos.scores))
    report = evaluation(videos, options.rounds)
    options.output.mkdir(parents=True, exist_ok=True)
    write_text(options.output / "evaluation.json", json.dumps(without_nan(report), indent=1) + "\n")
    draw(videos, options.output)
    for part, values in report.items():
        ranges = values.get("intervals_95", {})
        print(f"{part}: {values['videos']} videos")
        for name in (name for name in values if name not in ("videos", "intervals_95")):
            between = "  [{:.4f}, {:.4f}]".format(*ranges[name]) if name in ranges else ""
            print(f"  {name:<26}{values[name]:>8.4f}{between}")
    print(f"evaluate: {len(videos.labels)} videos, {unknown} without known truth left out; {options.output}")
    return 0


if __name__ == "__main__":
    run_script(main)
