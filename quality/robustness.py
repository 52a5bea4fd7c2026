"""How scores change when videos are recoded, made smaller or darker, or filmed off a screen, and which side breaks.

Reads  videos as inference.predict does, and optionally the truth (metadata.json or a CSV) as quality.evaluate does
Writes robustness/<perturbation>/<video>.mp4 (quality.perturb)
       robustness/robustness.csv (a row per perturbation) and robustness.png
       robustness/submission.csv and .jsonl, with the scores of all as `<perturbation>/<video>`

A row holds the number of videos, how many of them have a score, the mean and the largest shift of the score against the
original video's, the mean shift of REAL and of FAKE, the AUC of the videos that have a score in both versions, the
fractions of REAL called fake and of FAKE found at --threshold, and the other statuses. The picture shows both sides. If
it is killed, run it again and it goes on.

    python -m quality.robustness videos/*.mp4 --labels metadata.json --members b0
"""

import argparse
import math
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from common.command import run_script
from common.files import atomic_file, file_state, write_table
from common.status import Status
from common.workers import Workers, patience, progress
from faces.video_files import find_videos
from inference.predict import score_videos, scoring_parser
from inference.results import Result
from inference.run import Ledger, Output
from inference.scorer import Video
from inference.settings import Settings
from quality.evaluate import Truth, read_truth
from quality.perturb import PERTURBATIONS, recode

ORIGINAL = "original"
SIDES = {0: "REAL", 1: "FAKE", None: "without known label"}
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


def recode_all(videos: dict[str, Path], folder: Path, workers: int) -> dict[str, Path]:
    """Write every perturbation of every video; return their paths and the originals' by `<perturbation>/<name>`.

    A recoding that was made of the same file before is kept. A video that cannot be read has only its original.
    """
    targets = {
        f"{kind}/{name}": (folder / kind / f"{name}.mp4", name, kind) for kind in PERTURBATIONS for name in videos
    }
    sources = {name: file_state(path) for name, path in videos.items()}
    ledger = Ledger(folder / "recodings", {})  # holds which file each recoding was made of
    jobs = {
        key: (videos[name], target, kind)
        for key, (target, name, kind) in targets.items()
        if not target.is_file() or ledger.result(key, sources[name]) is None
    }
    failed = set()
    with (
        Workers(min(workers, len(jobs))) as pool,
        progress(total=len(jobs), desc="recode", unit="video", disable=not jobs) as bar,
    ):
        for key, outcome in pool.run(recode, jobs, {key: patience(video) for key, (video, _, _) in jobs.items()}):
            if isinstance(outcome, Exception):
                failed.add(key)
                bar.write(f"robustness: {key}: {outcome}", file=sys.stderr)
            else:
                ledger.add(key, sources[targets[key][1]], {})
            bar.update()
    found = {key: target for key, (target, _, _) in targets.items() if key not in failed}
    return {f"{ORIGINAL}/{name}": path for name, path in videos.items()} | found


def summarise(
    kind: str, rows: dict[str, Result], names: list[str], truth: dict[str, Truth], threshold: float
) -> list[object]:
    """The table's row for a perturbation; values that are not defined are empty."""
    mine = {name: rows[f"{kind}/{name}"] for name in names if f"{kind}/{name}" in rows}
    scored = {name: row.label for name, row in mine.items() if row.status == Status.OK}
    originals = {name: rows[f"{ORIGINAL}/{name}"] for name in scored}
    before = {name: row.label for name, row in originals.items() if row.status == Status.OK}
    shifts = {name: scored[name] - label for name, label in before.items()}
    by_label = [
        [shift for name, shift in shifts.items() if name in truth and truth[name].label == label] for label in (0, 1)
    ]
    known = [(truth[name].label, scored[name]) for name in before if name in truth]
    both = len({label for label, _ in known}) == 2
    above = [[score > threshold for mine, score in known if mine == label] for label in (0, 1)]
    statuses = Counter(row.status for row in mine.values() if row.status != Status.OK)
    return [
        kind,
        len(mine),
        len(scored),
        shown(fmean(shifts.values()) if shifts else None),
        shown(max(shifts.values(), key=abs) if shifts else None),
        *(shown(fmean(some) if some else None) for some in by_label),
        shown(float(roc_auc_score(*zip(*known, strict=True))) if both else None),
        *(shown(fmean(called) if called else None) for called in above),
        " ".join(f"{count} {status}" for status, count in statuses.items()),
    ]


def shown(value: float | None) -> str:
    """The value with four decimals, or nothing for None."""
    return "" if value is None else f"{value:.4f}"


def draw(
    path: Path,
    rows: dict[str, Result],
    names: list[str],
    kinds: list[str],
    truth: Mapping[str, Truth],
    threshold: float,
) -> None:
    """Draw the scores of every video under every perturbation, a line per video, REAL and FAKE apart if known."""
    labels = {name: truth[name].label if name in truth else None for name in names}
    sides = [label for label in (0, 1, None) if label in labels.values()]
    figure = Figure(figsize=(1.5 + 0.8 * len(kinds), 4 * len(sides)), layout="constrained")
    for axes, side in zip(figure.subplots(len(sides), squeeze=False)[:, 0], sides, strict=True):
        mine = [name for name in names if labels[name] == side]
        for name in mine:
            of_kinds = [rows.get(f"{kind}/{name}") for kind in kinds]
            scores = [row.label if row and row.status == Status.OK else math.nan for row in of_kinds]
            axes.plot(kinds, scores, "o-", label=name)
        axes.axhline(threshold, linestyle=":", color="gray")
        axes.set(ylabel="score", ylim=(-0.02, 1.02), title=SIDES[side])
        axes.tick_params(axis="x", rotation=45)
        if len(mine) <= 12:
            axes.legend(fontsize="small")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = scoring_parser(__doc__)
    parser.add_argument(
        "--labels", type=Path, metavar="TRUTH", help="metadata.json, or a CSV filename,label; without it no AUC"
    )
    parser.add_argument("--threshold", type=float, default=0.5, metavar="T", help="of being called fake (default: .5)")
    parser.add_argument("--output", type=Path, default=Path("robustness"), metavar="DIR", help="default: robustness")
    return parser.parse_args()


def main() -> int:
    """Recode, score, compare; return 1 if an original could not be scored, else 0."""
    options = parse_arguments()
    truth = read_truth(options.labels) if options.labels else {}
    videos, folder = find_videos(options.inputs, None, Path()).videos, options.output
    everything = [Video(*one) for one in recode_all(videos, folder, options.workers).items()]
    results = score_videos(everything, Settings.of(options), Output(folder / "submission.csv"))
    rows = {result.filename: result for result in results}
    kinds, names = [ORIGINAL, *PERTURBATIONS], list(videos)
    found = [summarise(kind, rows, names, truth, options.threshold) for kind in kinds]
    write_table(folder / "robustness.csv", [COLUMNS, *found])
    draw(folder / "robustness.png", rows, names, kinds, truth, options.threshold)
    print("".join(f"{column:<14}" for column in COLUMNS))
    for line in found:
        print("".join(f"{value!s:<14}" for value in line).rstrip())
    unscored = [name for name in names if rows[f"{ORIGINAL}/{name}"].status != Status.OK]
    counts = f"{len(names)} videos, {len(unscored)} of them without a score, {len(PERTURBATIONS)} perturbations"
    print(f"robustness: {counts}; {folder}")
    return 1 if unscored else 0


if __name__ == "__main__":
    run_script(main)
