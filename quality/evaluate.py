"""How good a submission is: measures over all videos with 95% intervals, and by status and subset; calibration.

Reads  submission.csv (`filename,label`) or another kind of quality.score_files; the statuses in submission.jsonl
       beside it, if it exists; the truth: a metadata.json of DFDC, or a CSV `filename,label[,original][,subset]` with
       labels REAL, FAKE, 0 or 1
Writes <output>/evaluation.json, roc.png, reliability.png, histogram.png; with --fit a calibration

The intervals come from a bootstrap that draws originals with replacement, each with its fakes, because these are not
independent. Videos of the same person are not independent either, but the truth does not name persons. If persons have
several originals, the intervals are too narrow.

    python -m quality.evaluate submission.csv metadata.json
    python -m quality.evaluate half1.csv labels.csv --fit calibration.json
    python -m quality.evaluate half2.csv labels.csv --apply calibration.json
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve

from common.command import command_parser, positive, run_script
from common.errors import BadInputError
from common.files import file_beside
from common.labels import LABELS
from common.status import Status
from inference.members import MODELS, choose_members
from inference.results import Result, read_results, utf8_name
from inference.settings import add_options
from inference.verdicts import REFERENCE, digests
from quality.calibration import CalibrationData, fit_calibration, write_calibration
from quality.measures import BINS, RECALLS, OperatingPoint, few_originals, intervals, measures
from quality.platt import Platt
from quality.score_files import Truth, has_rows, read_scores, read_truth, rows_beside, write_json
from quality.videos import Videos, draw_roc, save_figure

REPORTED = (
    *("log_loss", "balanced_log_loss", "auc", "eer", "accuracy"),
    *(f"precision_at_recall_{recall}" for recall in RECALLS),
    "ece",
)
TRUTH_HELP = "metadata.json, or a CSV filename,label[,original][,subset]"


def results_beside(submission: Path) -> dict[str, Result]:
    """The results in the `.jsonl` beside a submission, by their names in it; empty if there is no such file.

    A file with another tool's lines is no such file. Raises BadInputError for damaged rows of inference.predict.
    """
    details = file_beside(submission, ".jsonl")
    return {utf8_name(name): result for name, result in read_results(details).items()} if has_rows(details) else {}


def read_videos(submission: Path, truth: Mapping[str, Truth]) -> tuple[Videos, int]:
    """The submission's videos with known truth, and the number of the others.

    Raises BadInputError if the truth knows none of them, and as `quality.score_files.read_scores` does.
    """
    scores = read_scores(submission)
    names = [name for name in scores if name in truth]
    if not names:
        raise BadInputError(f"{submission} and the truth have no video in common")
    statuses = {utf8_name(row["filename"]): row["status"] for row in rows_beside(submission)}
    videos = Videos(
        names=np.array(names),
        labels=np.array([truth[name].label for name in names]),
        scores=np.array([scores[name] for name in names]),
        originals=np.array([truth[name].original for name in names]),
        statuses=np.array([statuses.get(name, "") for name in names]),
        subsets=np.array([truth[name].subset for name in names]),
    )
    return videos, len(scores) - len(names)


def evaluation(videos: Videos, rounds: int) -> dict[str, dict[str, Any]]:
    """The measures of all videos, with intervals by `rounds` of the bootstrap, and of each status and subset."""
    ranges = intervals(partial(measures, REPORTED), videos.labels, videos.scores, videos.originals, rounds)
    report = {"all": measures_of(videos) | {"intervals_95": ranges}}
    for kind, values in (("status", videos.statuses), ("subset", videos.subsets)):
        for value in sorted(set(values) - {""}):
            report[f"{kind} {value}"] = measures_of(videos[values == value])
    return report


def measures_of(videos: Videos) -> dict[str, Any]:
    """The number of videos and their measures."""
    return {"videos": len(videos.labels), **measures(REPORTED, videos.labels, videos.scores)}


def calibrate(
    path: Path, videos: Videos, results: Mapping[str, Result], models: Path, rounds: int, network: Path | None = None
) -> str:
    """Fit a calibration on the videos that have a score, write it, and return it as text.

    The false-positive rates depend on the conditions in the results. Without results there is one rate for all real
    videos, and the calibration is for no members. Raises ValueError if a class is missing or higher scores do not go
    with FAKE, and BadInputError for results of several runs.
    """
    found = [results.get(name) for name in videos.names.tolist()]
    known = [result for result in found if result]
    if len({result.run for result in known}) > 1:
        raise BadInputError("--fit: the rows come from several runs with other members, weights or options")
    usable = [result.status == Status.OK if result else not known for result in found]
    scored = np.flatnonzero(usable)
    policy = next((result.policy for result in known), REFERENCE)
    members = next((",".join(result.members) for result in known if result.members), "")
    data = CalibrationData(
        labels=videos.labels[scored],
        scores=videos.scores[scored],
        originals=videos.originals[scored],
        conditions=[result.conditions if result else None for result in (found[index] for index in scored)],
        sources=videos.names[scored].tolist(),
    )
    checkpoints = digests(choose_members(members, models, network=network).members, models) if members else {}
    fitted = fit_calibration(checkpoints, "videos", data, rounds, policy)
    write_calibration(path, fitted.calibration, fitted.more)
    lines = [f"temperature {fitted.platt.temperature:.4f}, shift {fitted.platt.shift:.4f}; {path}"]
    if left_out := len(found) - len(scored):
        lines.append(f"  {left_out} videos without a score or without a row are left out")
    lines += [f"  {describe_point(point)}" for point in fitted.points]
    use = f"predict --calibration takes it for {members}" if members else "no members: predict --calibration refuses it"
    return "\n".join([*lines, "", fitted.table, "", use])


def describe_point(point: OperatingPoint) -> str:
    """An operating point in a line."""
    threshold = f"above {point.threshold:.4f} [{point.low:.4f}, {point.high:.4f}]"
    unresolved = "" if point.resolved else "; too few real videos to be sure"
    return (
        f"to call {point.false_positives:.1%} of real videos fake, call a video fake {threshold}: "
        f"finds {point.recall:.1%} of fakes{unresolved}"
    )


def read_platt(path: Path) -> Platt:
    """The Platt scaling in a file that --fit wrote. Raises BadInputError for another file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Platt(float(content["temperature"]), float(content["shift"]))
    except (ValueError, TypeError, KeyError) as error:
        raise BadInputError(f"--apply {path}: not a calibration that --fit wrote: {error}") from error


def draw(videos: Videos, folder: Path) -> None:
    """Draw the ROC curve, the reliability diagram and the histogram of the scores."""
    labels, scores = videos.labels, videos.scores

    def roc(axes: Axes) -> None:
        draw_roc(axes, {"all videos": videos})

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
        save_figure(figure, folder / f"{panel.__name__}.png")


def print_report(report: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the measures of each group of videos, with their intervals."""
    for group, values in report.items():
        ranges = values.get("intervals_95", {})
        print(f"{group}: {values['videos']} videos")
        for name in REPORTED:
            interval = "  [{:.4f}, {:.4f}]".format(*ranges[name]) if name in ranges else ""
            print(f"  {name:<26}{values[name]:>8.4f}{interval}")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = command_parser(__doc__)
    parser.add_argument("submission", type=Path, metavar="CSV")
    parser.add_argument("truth", type=Path, metavar="TRUTH", help=TRUTH_HELP)
    parser.add_argument("--output", type=Path, default=Path("evaluation"), metavar="DIR", help="default: evaluation")
    parser.add_argument("--rounds", type=positive, default=1000, help="of the bootstrap (default: 1000)")
    calibration = parser.add_mutually_exclusive_group()
    calibration.add_argument(
        "--fit",
        type=Path,
        metavar="JSON",
        help="write a calibration: Platt scaling, and how many real videos score as high, by their conditions",
    )
    calibration.add_argument(
        "--apply", type=Path, metavar="JSON", help="measure the scores after the Platt scaling of a calibration"
    )
    parser.add_argument(
        "--models", type=Path, default=MODELS, metavar="DIR", help=f"checkpoints, for --fit (default: {MODELS})"
    )
    add_options(parser, ("network",))
    return parser.parse_args()


def main() -> int:
    """Read, measure, print, write."""
    options = parse_arguments()
    truth = read_truth(options.truth)
    videos, unknown = read_videos(options.submission, truth)
    if options.fit:
        try:
            made_by = results_beside(options.submission)
            print(calibrate(options.fit, videos, made_by, options.models, options.rounds, options.network))
        except ValueError as error:
            raise BadInputError(f"--fit: {error}") from error
    if options.apply:
        videos = replace(videos, scores=read_platt(options.apply).apply(videos.scores))
    report = evaluation(videos, options.rounds)
    options.output.mkdir(parents=True, exist_ok=True)
    write_json(options.output / "evaluation.json", report)
    draw(videos, options.output)
    print_report(report)
    if warning := few_originals(videos.originals):
        print(f"evaluate: {warning}")
    absent = len(truth) - len(videos.labels)
    lacks = f", {absent} of the truth not in {options.submission.name}" if absent else ""
    print(f"evaluate: {len(videos.labels)} videos, {unknown} without known truth left out{lacks}; {options.output}")
    return 0


if __name__ == "__main__":
    run_script(main)
