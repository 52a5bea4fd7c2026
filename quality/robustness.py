"""How scores change when videos are recoded, made smaller or darker, or filmed off a screen, and which class suffers.

Reads  videos as inference.predict does, and optionally the truth (metadata.json or a CSV) as quality.evaluate does
Writes robustness/<perturbation>/<video>.mp4 (quality.perturb)
       robustness/robustness.csv (a row per perturbation) and robustness.png
       robustness/submission.csv and .jsonl, with the scores of all as `<perturbation>/<video>`

A row holds the number of videos, how many of them have a score, the mean and the largest shift of the score against the
original video's, the mean shift of REAL and of FAKE, the AUC of the videos that have a score in both versions, the
fractions of REAL called fake and of FAKE found at --threshold, and the other statuses. The picture shows both classes.
If it is killed, run it again and it goes on.

    python -m quality.robustness videos/*.mp4 --labels metadata.json --members b0
"""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from common.command import run_script
from common.files import file_state, write_table
from common.status import Status
from common.workers import Workers, patience
from faces.video_files import find_videos
from inference.ledger import Ledger
from inference.predict import scoring_parser
from inference.results import Result
from inference.run import Output, score_videos
from inference.scorer import Video
from inference.settings import Settings
from quality.measures import measure
from quality.perturb import PERTURBATIONS, perturb
from quality.score_files import Truth, read_truth
from quality.videos import save_figure

ORIGINAL = "original"
TITLES = {0: "REAL", 1: "FAKE", None: "without known label"}
NAMED = 12  # at most this many videos have their names in the picture
COLUMNS = (
    "perturbation",
    "videos",
    "scored",
    "mean_shift",
    "largest_shift",
    "shift_REAL",
    "shift_FAKE",
    "auc",
    "real_called",
    "fake_found",
    "statuses",
)


def perturb_all(videos: Mapping[str, Path], folder: Path, workers: int) -> dict[str, Path]:
    """Write every perturbation of every video; return their paths and the originals' by `<perturbation>/<name>`.

    A file that was made from the same video before is kept. A video that cannot be read has only its original.
    """
    targets = {
        f"{perturbation}/{name}": (folder / perturbation / f"{name}.mp4", name, perturbation)
        for perturbation in PERTURBATIONS
        for name in videos
    }
    states = {name: file_state(path) for name, path in videos.items()}
    ledger = Ledger(folder / "recodings", {})  # remembers which file each one was made from
    jobs = {
        key: (videos[name], target, perturbation)
        for key, (target, name, perturbation) in targets.items()
        if not target.is_file() or ledger.result(key, states[name]) is None
    }
    seconds = {key: patience(video) for key, (video, _, _) in jobs.items()}
    failed = set()
    with Workers(min(workers, len(jobs))) as pool:
        for key, outcome in pool.run_with_bar(perturb, jobs, "recode", seconds):
            if isinstance(outcome, Exception):
                failed.add(key)
                tqdm.write(f"robustness: {key}: {outcome}", file=sys.stderr)
            else:
                ledger.add(key, states[targets[key][1]], {})
    written = {key: target for key, (target, _, _) in targets.items() if key not in failed}
    return {f"{ORIGINAL}/{name}": path for name, path in videos.items()} | written


def table_row(
    perturbation: str,
    results: Mapping[str, Result],
    names: Sequence[str],
    truth: Mapping[str, Truth],
    threshold: float,
) -> list[object]:
    """A perturbation's row of COLUMNS; values that are not defined are empty. `results` by `<perturbation>/<name>`."""
    perturbed = {name: results[f"{perturbation}/{name}"] for name in names if f"{perturbation}/{name}" in results}
    scores = {name: result.label for name, result in perturbed.items() if result.status == Status.OK}
    originals = {name: results[f"{ORIGINAL}/{name}"] for name in scores}
    shifts = {
        name: scores[name] - original.label for name, original in originals.items() if original.status == Status.OK
    }
    known = [name for name in shifts if name in truth]
    labels, of_known = np.array([truth[name].label for name in known]), np.array([scores[name] for name in known])
    classes = [[name for name in known if truth[name].label == label] for label in (0, 1)]
    statuses = Counter(result.status for result in perturbed.values() if result.status != Status.OK)
    return [
        perturbation,
        len(perturbed),
        len(scores),
        mean_cell(shifts.values()),
        mean_cell([max(shifts.values(), key=abs)] if shifts else []),
        *(mean_cell([shifts[name] for name in of_class]) for of_class in classes),
        mean_cell([measure("auc", labels, of_known)] if all(classes) else []),
        *(mean_cell([scores[name] > threshold for name in of_class]) for of_class in classes),
        " ".join(f"{count} {status}" for status, count in statuses.items()),
    ]


def mean_cell(values: Collection[float]) -> str:
    """The mean with four decimals, or nothing for no values."""
    return f"{fmean(values):.4f}" if values else ""


def draw(
    path: Path,
    results: Mapping[str, Result],
    names: Sequence[str],
    perturbations: Sequence[str],
    truth: Mapping[str, Truth],
    threshold: float,
) -> None:
    """Draw the scores of every video under every perturbation, a line per video, in a panel per class."""
    labels = {name: truth[name].label if name in truth else None for name in names}
    classes = [label for label in TITLES if label in labels.values()]
    figure = Figure(figsize=(1.5 + 0.8 * len(perturbations), 4 * len(classes)), layout="constrained")
    for axes, label in zip(figure.subplots(len(classes), squeeze=False)[:, 0], classes, strict=True):
        of_class = [name for name in names if labels[name] == label]
        for name in of_class:
            versions = [results.get(f"{perturbation}/{name}") for perturbation in perturbations]
            scores = [version.label if version and version.status == Status.OK else math.nan for version in versions]
            axes.plot(perturbations, scores, "o-", label=name)
        axes.axhline(threshold, linestyle=":", color="gray")
        axes.set(ylabel="score", ylim=(-0.02, 1.02), title=TITLES[label])
        axes.tick_params(axis="x", rotation=45)
        if len(of_class) <= NAMED:
            axes.legend(fontsize="small")
    save_figure(figure, path)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = scoring_parser(__doc__)
    parser.add_argument(
        "--labels", type=Path, metavar="TRUTH", help="metadata.json, or a CSV filename,label (default: no AUC)"
    )
    parser.add_argument(
        "--threshold", type=float, default=0.5, metavar="T", help="above it a video is called fake (default: 0.5)"
    )
    parser.add_argument("--output", type=Path, default=Path("robustness"), metavar="DIR", help="default: robustness")
    return parser.parse_args()


def main() -> int:
    """Recode, score, compare; return 1 if an original could not be scored, else 0."""
    options = parse_arguments()
    truth = read_truth(options.labels) if options.labels else {}
    videos, folder = find_videos(options.inputs, None, Path()).videos, options.output
    versions = perturb_all(videos, folder, options.workers)
    results = score_videos(
        [Video(name, path) for name, path in versions.items()],
        Settings.of(options),
        Output(folder / "submission.csv"),
    )
    perturbations, names = [ORIGINAL, *PERTURBATIONS], list(videos)
    rows = [table_row(perturbation, results, names, truth, options.threshold) for perturbation in perturbations]
    write_table(folder / "robustness.csv", [COLUMNS, *rows])
    draw(folder / "robustness.png", results, names, perturbations, truth, options.threshold)
    print("".join(f"{column:<14}" for column in COLUMNS))
    for row in rows:
        print("".join(f"{value!s:<14}" for value in row).rstrip())
    unscored = [name for name in names if results[f"{ORIGINAL}/{name}"].status != Status.OK]
    counts = f"{len(names)} videos, {len(unscored)} of them without a score, {len(PERTURBATIONS)} perturbations"
    print(f"robustness: {counts}; {folder}")
    return 1 if unscored else 0


if __name__ == "__main__":
    run_script(main)
