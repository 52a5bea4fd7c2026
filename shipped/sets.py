"""Score the validation crops of all sets with image members, and print the table of the weights' page.

Reads  the lists of make_crop_lists.py with their truth, the faces, the members' checkpoints
Writes <output>/<set>.csv   filename,label of each crop, for quality.evaluate (intervals, pictures)
       <output>/sets.json   the table's rows, with an interval of each figure
       --calibration FILE   how many real faces score as high, for inference.verdicts, by the faces as they are and also
                            smaller and compressed (shipped.perturbed); and how far that holds for DFDC's test half

A row is a set, a manipulation of it (its fakes against all real faces of the set), or a group of real faces. Columns:
crops and how many of them are real; area under the ROC curve; balanced log loss; expected calibration error; the true-
positive rate at a false-positive rate of 5%; the fractions of real faces above 0.5 and above 0.8. Each figure has its
95% interval, by a bootstrap that draws originals with replacement, each with its fakes. The last line has the means
over the sets of both classes, and the set with most real faces above 0.5: choose weights by these. A second table says
what a score means: which fraction of the faces with such a score is fake.

    python -m shipped.sets
    python -m shipped.sets --sets faces224_calibration,ffpp_val --members lite0 --models image_based/experiments/...
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from common.command import command_parser, run_script
from common.errors import BadInputError
from common.files import write_table
from inference.evidence.maps import image_members
from inference.networks.runtimes import Networks
from inference.verdicts import digests
from quality.calibration import write_calibration
from quality.measures import has_both, intervals, measure
from quality.score_files import Truth, read_truth, write_json
from shipped.calibration import calibrate, shares_table, shares_within, with_limits
from shipped.crops import (
    CHOOSE_BY,
    HELD_OUT,
    SETS,
    add_set_options,
    chosen_sets,
    combine_scores,
    crop_indices,
    load_chosen,
    score_crops,
)
from shipped.perturbed import score_versions
from training.face_tracks import FaceTracks

ROUNDS = 200  # of each bootstrap
FIGURES = {  # their forms
    **dict.fromkeys(("auc", "balanced_log_loss", "ece"), ".3f"),
    **dict.fromkeys(("found", "real_above_half", "real_above_08"), ".1%"),
}
YEARS = 20  # ages are grouped by this many
EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.01)  # of the bands of scores


@dataclass(frozen=True)
class MeasuresRow:
    """A row of the table: the measures of a set, or of a part of it; those that the crops do not define are NaN."""

    set: str
    part: str  # "" for the whole set, else as `method Deepfakes` or `race Asian`
    crops: int
    real: int
    auc: float
    balanced_log_loss: float
    ece: float
    found: float  # true-positive rate at a false-positive rate of 5%
    real_above_half: float
    real_above_08: float
    intervals: dict[str, tuple[float, float]]  # of 95%, of each of FIGURES


def figures(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """The figures of a row, by name, of crops with labels int [N] (1 FAKE) and scores float [N] in [0, 1]."""
    real = scores[labels == 0]
    return {
        "auc": measure("auc", labels, scores),
        "balanced_log_loss": measure("balanced_log_loss", labels, scores),
        "ece": measure("ece", labels, scores) if has_both(labels) else math.nan,
        "found": measure("recall_at_5_percent", labels, scores),
        "real_above_half": float(np.mean(real > 0.5)) if len(real) else math.nan,
        "real_above_08": float(np.mean(real > 0.8)) if len(real) else math.nan,
    }


def measure_crops(name: str, part: str, truths: Sequence[Truth], labels: np.ndarray, scores: np.ndarray) -> MeasuresRow:
    """The row of crops with these truths, labels int [N] (1 FAKE) and scores float [N] in [0, 1]."""
    ranges = intervals(figures, labels, scores, np.array([truth.original for truth in truths]), ROUNDS)
    return MeasuresRow(name, part, len(labels), int((labels == 0).sum()), **figures(labels, scores), intervals=ranges)


def measure_set(name: str, truths: Sequence[Truth], labels: np.ndarray, scores: np.ndarray) -> list[MeasuresRow]:
    """The rows of a set with labels int [N] (1 FAKE) and scores float [N] in [0, 1], whose crops have these truths.

    First all of it, then each manipulation, the worst first, or each group of a set of real faces.
    """
    any_fake = bool(labels.any())
    grouped = labels == int(any_fake)  # fakes have manipulations, real faces of a set of real faces have groups
    parts = []
    for column in truths[0].columns:
        values = np.array([group_value(truth.columns[column]) for truth in truths])
        groups = sorted(set(values[grouped].tolist()) - {""})
        for group in groups if len(groups) > 1 else ():
            chosen = (grouped & (values == group)) | ((labels == 0) & any_fake)
            of_part = [truths[number] for number in np.flatnonzero(chosen).tolist()]
            parts.append(measure_crops(name, f"{column} {group}", of_part, labels[chosen], scores[chosen]))
    if any_fake:
        parts.sort(key=lambda row: row.auc)
    return [measure_crops(name, "", truths, labels, scores), *parts]


def group_value(text: str) -> str:
    """The value of a column as it is, or an age as its span of twenty years."""
    if not text.isdecimal():
        return text
    first = int(text) // YEARS * YEARS
    return f"{first}-{first + YEARS - 1}"


def table(rows: Iterable[MeasuresRow]) -> str:
    """The rows as a Markdown table, each figure with its interval; fractions in percent."""
    lines = [
        "| set | part | crops | real | AUC | log loss | ECE | found at 5% | real > 0.5 | real > 0.8 |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = [with_interval(row, name) for name in FIGURES]
        lines.append(f"| {' | '.join([row.set, row.part, str(row.crops), str(row.real), *cells])} |")
    return "\n".join(lines)


def with_interval(row: MeasuresRow, name: str) -> str:
    """A figure of a row with its interval, as `0.870 (0.842 to 0.896)`; nothing for NaN."""
    value, (low, high), form = getattr(row, name), row.intervals[name], FIGURES[name]
    return "" if math.isnan(value) else f"{value:{form}} ({low:{form}} to {high:{form}})"


def shown(value: float, form: str) -> str:
    """A number in a form of Python's format, or nothing for NaN."""
    return "" if math.isnan(value) else f"{value:{form}}"


def summary(rows: Sequence[MeasuresRow]) -> str:
    """The means over whole sets; their intervals follow from the sets' own, as these are independent."""
    whole = [row for row in rows if not row.part]
    both = [row for row in whole if not math.isnan(row.auc)]
    auc, found = (np.mean([getattr(row, name) for row in both] or [math.nan]) for name in ("auc", "found"))
    auc_within, found_within = (
        math.hypot(*((row.intervals[name][1] - row.intervals[name][0]) / 2 for row in both)) / max(len(both), 1)
        for name in ("auc", "found")
    )
    worst = max(whole, key=lambda row: -1 if math.isnan(row.real_above_half) else row.real_above_half)
    return (
        f"sets: {len(whole)}; mean of {len(both)}: AUC {auc:.4f} +- {auc_within:.4f}, "
        f"found at 5% {found:.1%} +- {found_within:.1%}; "
        f"most real faces above 0.5: {worst.set} {worst.real_above_half:.1%}"
    )


def score_bands(sets: Sequence[tuple[np.ndarray, np.ndarray]]) -> str:
    """A Markdown table of what a score means, by labels int [N] (1 FAKE) and scores float [N] of each set.

    Every set counts alike. For each band of scores: the fraction of fakes among its faces if half of all faces are fake
    (by sets of both classes), and the fraction of real faces with as high a score (by all sets).
    """
    both = [(labels, scores) for labels, scores in sets if has_both(labels)]
    real = [scores[labels == 0] for labels, scores in sets if not labels.all()]
    lines = [
        "| score | fake, of the faces with this score | real faces that score as high or higher |",
        "|---|---:|---:|",
    ]
    for low, high in reversed(list(itertools.pairwise(EDGES))):
        within = [
            [np.mean((scores[labels == label] >= low) & (scores[labels == label] < high)) for label in (0, 1)]
            for labels, scores in both
        ]
        real_share, fake_share = np.mean(within, axis=0) if within else (math.nan, math.nan)
        fake = fake_share / (real_share + fake_share) if real_share + fake_share > 0 else math.nan
        above = float(np.mean([np.mean(scores >= low) for scores in real])) if real else math.nan
        lines.append(f"| {low:g} to {min(high, 1):g} | {shown(fake, '.0%')} | {shown(above, '.0%')} |")
    return "\n".join(lines)


def score_set(networks: Networks, faces: Path, list_file: Path, truth: Mapping[str, Truth]) -> dict[str, float]:
    """The members' combined score, in [0, 1], of each crop of a list, by the crop's path.

    Raises BadInputError if the truth lacks a crop, or a crop cannot be read.
    """
    tracks = FaceTracks(faces, list_file)
    paths = [tracks[number].frame(frame) for number, frame in crop_indices(tracks)]
    if absent := set(paths) - truth.keys():
        raise BadInputError(f"{list_file.with_suffix('.csv')} lacks {len(absent)} crops of its list")
    scores = combine_scores(networks, score_crops(networks, tracks))
    return dict(zip(paths, scores.tolist(), strict=True))


def main() -> int:
    """Score, measure, print, write."""
    parser = command_parser(__doc__)
    add_set_options(parser)
    parser.add_argument("--output", type=Path, default=Path("evaluation/sets"), metavar="DIR")
    parser.add_argument(
        "--calibration", type=Path, metavar="FILE", help=f"write it, by the real faces of {', '.join(CHOOSE_BY)}"
    )
    options = parser.parse_args()
    names, networks = chosen_sets(options), load_chosen(options)
    options.output.mkdir(parents=True, exist_ok=True)
    rows: list[MeasuresRow] = []
    arrays, truths = [], dict[str, dict[str, Truth]]()
    for name in names:
        truth = truths[name] = read_truth(options.lists / f"{name}.csv")
        scores = score_set(networks, options.faces, options.lists / f"{name}.txt", truth)
        labelled = [(path, f"{score:.8f}") for path, score in scores.items()]
        write_table(options.output / f"{name}.csv", [("filename", "label"), *labelled])
        of_set = [truth[path] for path in scores]
        arrays.append((np.array([crop.label for crop in of_set]), np.array([*scores.values()])))
        rows += measure_set(name, of_set, *arrays[-1])
    write_json(options.output / "sets.json", [asdict(row) for row in rows])
    print(table(rows))
    print(f"\nWhat a score means, every set alike:\n\n{score_bands(arrays)}\n")
    if options.calibration:
        crops = {
            name: score_versions(networks, options.faces, options.lists / f"{name}.txt", truths[name])
            for name in names
            if name in SETS
        }
        unseen = crops.pop(HELD_OUT, [])
        fitted = calibrate(crops, digests(image_members(networks), options.models))
        calibration = with_limits(fitted.calibration, crops, HELD_OUT, unseen)
        write_calibration(options.calibration, calibration, fitted.more)
        print(f"{fitted.table}\n\n{shares_table(shares_within(calibration, unseen))}\n")
    print(f"{summary(rows)}; {options.output}")
    return 0


if __name__ == "__main__":
    run_script(main)
