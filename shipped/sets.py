"""Score the validation crops of all sets with image members, and print the model card's table.

Reads  the lists of make_crop_lists.py with their truth, the faces, the members' checkpoints
Writes <output>/<set>.csv   filename,label of each crop, for quality.evaluate (intervals, pictures)
       <output>/sets.json   the table's rows
       --calibration FILE   what inference reads to say how many real faces score as high (inference.verdicts), by
                            the faces as they are and also smaller and compressed (shipped.perturbed)

A row is a set, a manipulation of it (its fakes against all reals of the set), or a group of real faces. Columns: crops
and how many of them are real; area under the ROC curve; balanced log loss; expected calibration error; the fraction of
fakes found when 5 % of the reals are taken for fakes; the fractions of reals above .5 and above .8. The last line has
the means over the sets that hold both classes, and the worst set's reals above .5: choose weights by these. A second
table says what a score means: of faces so scored, how many are fake.

    python -m shipped.sets
    python -m shipped.sets --sets faces224_calibration,ffpp_val --members lite0 --models image_based/experiments/...
"""

import argparse
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from common.command import pick_device, run_script
from common.errors import BadInputError
from common.files import write_text
from inference.members import choose_members
from inference.verdicts import digests
from quality.evaluate import Truth, read_truth, without_nan
from quality.measures import balanced_weights, found_at, measures
from quality.operating_points import Observed, fit
from shipped.crops import add_crop_options, combined, load_fastest, score_crops, write_scores
from shipped.perturbed import Form, score_forms
from training.face_tracks import FaceTracks

ROUNDS = 200  # of the bootstrap of operating points
YEARS = 20  # ages are grouped by so many
FOUND_AT = 0.05  # of the reals above
CHOOSE_BY = ("faces224_calibration", "ffpp_val", "celebdf_val", "inswapper_val", "utk_val", "lfw_val")
SETS = (*CHOOSE_BY, "faces224_test")
EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.01)  # of the verdicts' bands


@dataclass(frozen=True)
class Row:
    """A line of the table; a measure that the crops do not define is NaN."""

    set: str
    part: str  # "" for the whole set, else `method Deepfakes` or `race Asian`
    crops: int
    real: int
    auc: float
    balanced_log_loss: float
    ece: float
    found: float  # fraction of fakes above the score that 5 % of the reals exceed
    real_above_half: float
    real_above_08: float


def row_of(name: str, part: str, labels: np.ndarray, scores: np.ndarray) -> Row:
    """The measures of crops with labels (1 FAKE) and scores in [0, 1]."""
    all_measures, real = measures(labels, scores), scores[labels == 0]
    both = 0 < len(real) < len(labels)
    return Row(
        name,
        part,
        len(labels),
        len(real),
        all_measures["auc"],
        all_measures["balanced_log_loss"],
        all_measures["ece"] if both else math.nan,
        found_at(labels, scores, FOUND_AT) if both else math.nan,
        float(np.mean(real > 0.5)) if len(real) else math.nan,
        float(np.mean(real > 0.8)) if len(real) else math.nan,
    )


def value_of(text: str) -> str:
    """A column's value as it is, or an age as its span of twenty years."""
    if not text.isdecimal():
        return text
    first = int(text) // YEARS * YEARS
    return f"{first}-{first + YEARS - 1}"


def rows_of(name: str, truths: Sequence[Truth], labels: np.ndarray, scores: np.ndarray) -> list[Row]:
    """The rows of a set: all of it, then each manipulation, worst first, or each group of a set of real faces."""
    parts = []
    for column in truths[0].known:
        kinds = np.array([value_of(truth.known[column]) for truth in truths])
        looked_at = labels == (1 if labels.any() else 0)
        found = sorted(set(kinds[looked_at]) - {""})
        for kind in found if len(found) > 1 else ():
            chosen = (looked_at & (kinds == kind)) | ((labels == 0) & labels.any())
            parts.append(row_of(name, f"{column} {kind}", labels[chosen], scores[chosen]))
    if labels.any():
        parts.sort(key=lambda row: row.auc)
    return [row_of(name, "", labels, scores), *parts]


def table(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table; fractions in percent."""
    lines = [
        "| set | part | crops | real | AUC | log loss | ECE | found at 5 % | real > .5 | real > .8 |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        numbers = [shown(value, 4) for value in (row.auc, row.balanced_log_loss, row.ece)]
        percents = [shown(100 * value, 1, " %") for value in (row.found, row.real_above_half, row.real_above_08)]
        lines.append(f"| {' | '.join([row.set, row.part, str(row.crops), str(row.real), *numbers, *percents])} |")
    return "\n".join(lines)


def shown(value: float, digits: int, unit: str = "") -> str:
    """A number without its leading zero, or nothing for NaN."""
    text = f"{value:.{digits}f}".removeprefix("0") if 0 < value < 1 else f"{value:.{digits}f}"
    return "" if math.isnan(value) else text + unit


def summary(rows: Sequence[Row]) -> str:
    """The means over whole sets."""
    whole = [row for row in rows if not row.part]
    both = [row for row in whole if not math.isnan(row.auc)]
    auc, found = (np.mean([getattr(row, name) for row in both] or [math.nan]) for name in ("auc", "found"))
    worst = max(whole, key=lambda row: -1 if math.isnan(row.real_above_half) else row.real_above_half)
    return (
        f"sets: {len(whole)}; mean of {len(both)}: AUC {auc:.4f}, found at 5 % {found:.1%}; "
        f"most reals above .5: {worst.set} {worst.real_above_half:.1%}"
    )


def bands(scored: Sequence[tuple[np.ndarray, np.ndarray]]) -> str:
    """A Markdown table of what a score means, from (labels, scores) of each set; every set counts alike.

    For each verdict's band: the fraction of fakes among the faces so scored, if half of all faces are fake (sets of
    both classes), and the fraction of real faces with as high a score (all sets).
    """
    both = [(labels, scores) for labels, scores in scored if 0 < labels.sum() < len(labels)]
    real = [scores[labels == 0] for labels, scores in scored if not labels.all()]
    lines = ["| score | of the faces so scored, fake | real faces that score as high or higher |", "|---|---:|---:|"]
    for low, high in reversed(list(itertools.pairwise(EDGES))):
        within = [
            [np.mean((scores[labels == label] >= low) & (scores[labels == label] < high)) for label in (0, 1)]
            for labels, scores in both
        ]
        reals, fakes = np.mean(within, axis=0) if within else (math.nan, math.nan)
        share = fakes / (reals + fakes) if reals + fakes > 0 else math.nan
        above = float(np.mean([np.mean(mine >= low) for mine in real])) if real else math.nan
        lines.append(f"| {low:g} to {min(high, 1):g} | {shown(100 * share, 0, ' %')} | {shown(100 * above, 0, ' %')} |")
    return "\n".join(lines)


def calibrate(path: Path, forms: Mapping[str, Sequence[Form]], members: Mapping[str, str]) -> str:
    """Fit a calibration of the faces of several sets, every set alike, write it, and return its strata as a table."""
    every = [(name, form) for name, of_set in forms.items() for form in of_set]
    labels, scores = np.array([form.truth.label for _, form in every]), np.array([form.score for _, form in every])
    sets = np.array([name for name, _ in every])
    size = Counter(sets[labels == 0].tolist())
    seen = Observed(
        labels=labels,
        scores=scores,
        originals=np.array([f"{name} {form.truth.original}" for name, form in every]),
        conditions=[form.conditions for _, form in every],
        sources=[form.crop for _, form in every],
        platt_weights=balanced_weights(sets, labels),
        rate_weights=np.array([1 / max(size[name], 1) for name in sets.tolist()]),
    )
    return fit(path, members, "faces", seen, ROUNDS).table


def present(lists: Path, wanted: str | None) -> list[str]:
    """The sets of a comma-separated list, or those of SETS that have a list. Raises BadInputError if there is none."""
    names = [name for name in SETS if (lists / f"{name}.txt").is_file()] if wanted is None else wanted.split(",")
    if not names:
        raise BadInputError(f"{lists} holds none of {', '.join(SETS)}: run make_crop_lists.py first")
    return names


def add_set_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which sets are looked at, and by which members."""
    parser.add_argument("--sets", metavar="A,B", help=f"default: those with a list of {', '.join(SETS)}")
    parser.add_argument("--lists", type=Path, default=Path("DFDC-Kaggle_list"), metavar="DIR")
    add_crop_options(parser)


def main() -> int:
    """Score, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_set_options(parser)
    parser.add_argument("--output", type=Path, default=Path("evaluation/sets"), metavar="DIR")
    parser.add_argument(
        "--calibration", type=Path, metavar="FILE", help=f"write it, by the reals of {', '.join(CHOOSE_BY)}"
    )
    options = parser.parse_args()
    names = present(options.lists, options.sets)
    members = choose_members(options.members, options.models).members
    networks = load_fastest(members, options.models, pick_device(options.device))
    options.output.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    scored, truths_by = [], dict[str, dict[str, Truth]]()
    for name in names:
        truth = read_truth(options.lists / f"{name}.csv")
        scores = combined(members, score_crops(networks, FaceTracks(options.faces, options.lists / f"{name}.txt")))
        if absent := scores.keys() - truth.keys():
            raise BadInputError(f"{options.lists / name}.csv lacks {len(absent)} crops of its list")
        write_scores(options.output / f"{name}.csv", scores)
        truths_by[name] = truth
        truths = [truth[path] for path in scores]
        scored.append((np.array([one.label for one in truths]), np.array([*scores.values()])))
        rows += rows_of(name, truths, *scored[-1])
    report = [without_nan(asdict(row)) for row in rows]
    write_text(options.output / "sets.json", json.dumps(report, indent=1) + "\n")
    print(table(rows))
    print(f"\nWhat a score means, every set alike:\n\n{bands(scored)}\n")
    if options.calibration:
        forms = {
            name: score_forms(networks, options.faces, options.lists / f"{name}.txt", truths_by[name])
            for name in names
            if name in CHOOSE_BY
        }
        print(f"{calibrate(options.calibration, forms, digests(members, options.models))}\n")
    print(f"{summary(rows)}; {options.output}")
    return 0


if __name__ == "__main__":
    run_script(main)
