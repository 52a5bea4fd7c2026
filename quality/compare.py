"""Whether two detectors really differ on the same videos, and which verdicts flipped.

Reads  two score files of any kind (quality.score_files) and the truth, as quality.evaluate does
Writes <output>/comparison.json, flipped.csv

Only videos that are in the truth and in both files count; a video without a score counts as 0.5. There are two tests of
the difference of the areas under the ROC curve: DeLong's (Biometrics, 1988), which takes videos as independent, and a
paired bootstrap that draws originals, each with its fakes, which does not. A verdict flips where one score is above
--threshold and the other is not.

    python -m quality.compare before.csv after.csv metadata.json
"""

import argparse
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from common.command import command_parser, positive, run_script
from common.errors import BadInputError
from common.files import write_table
from inference.verdicts import REFERENCE
from quality.measures import intervals, measure
from quality.score_files import Truth, read_scores, read_truth, rows_beside, write_json


@dataclass(frozen=True)
class Comparison:
    """Areas under the ROC curve of A and B, and B's minus A's with its interval."""

    videos: int
    auc_a: float
    auc_b: float
    difference: float
    low: float  # of the 95% interval by the bootstrap
    high: float
    p_value: float  # DeLong's, two-sided
    flipped: int
    mended: int  # flips that made a wrong verdict right


def auc_components(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each fake the share of real videos below it, and for each real video the share of fakes above it.

    `labels` int [N] (1 FAKE) and `scores` float [N] give float [fakes] and float [real videos]. Ties count half.
    """
    fake, real = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    below = [np.searchsorted(real, scores[labels == 1], side) for side in ("left", "right")]
    above = [len(fake) - np.searchsorted(fake, scores[labels == 0], side) for side in ("left", "right")]
    return np.mean(below, axis=0) / len(real), np.mean(above, axis=0) / len(fake)


def delong(labels: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """The two-sided p-value of the hypothesis that two scores of the same videos have the same area.

    `labels` int [N] (1 FAKE), `a` and `b` float [N]; each class has at least two videos.
    """
    fake, real = zip(*(auc_components(labels, scores) for scores in (a, b)), strict=True)
    covariance = np.cov(np.stack(fake)) / len(fake[0]) + np.cov(np.stack(real)) / len(real[0])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    difference = float(np.mean(fake[1]) - np.mean(fake[0]))
    if variance <= 1e-18:  # as where one score is perfect and the other constant
        return float(abs(difference) <= 1e-12)
    return 2 * NormalDist().cdf(-abs(difference) / math.sqrt(variance))


def compare(
    labels: np.ndarray, a: np.ndarray, b: np.ndarray, originals: np.ndarray, threshold: float, rounds: int
) -> Comparison:
    """Compare two scores, `a` and `b` float [N] in [0, 1], of the same videos.

    `labels` int [N] (1 FAKE); `originals` [N] names what the bootstrap draws in each of `rounds`. Raises BadInputError
    unless each class has two videos.
    """
    if min(int((labels == 1).sum()), int((labels == 0).sum())) < 2:
        raise BadInputError("a comparison needs at least two videos of each class")

    def difference(drawn: np.ndarray, both: np.ndarray) -> dict[str, float]:
        return {"difference": measure("auc", drawn, both[:, 1]) - measure("auc", drawn, both[:, 0])}

    both = np.stack([a, b], axis=1)
    low, high = intervals(difference, labels, both, originals, rounds)["difference"]
    auc_a, auc_b = (measure("auc", labels, scores) for scores in (a, b))
    flips = (a > threshold) != (b > threshold)
    mended = flips & ((b > threshold) == labels)
    return Comparison(
        videos=len(labels),
        auc_a=auc_a,
        auc_b=auc_b,
        difference=auc_b - auc_a,
        low=low,
        high=high,
        p_value=delong(labels, a, b),
        flipped=int(flips.sum()),
        mended=int(mended.sum()),
    )


def flipped_rows(
    names: list[str], truth: Mapping[str, Truth], a: np.ndarray, b: np.ndarray, threshold: float
) -> list[tuple[object, ...]]:
    """A row (name, label, a, b) for each video whose verdict flipped, the largest change first; `a`, `b` float [N]."""
    flipped = np.flatnonzero((a > threshold) != (b > threshold))
    in_order = flipped[np.argsort(-np.abs(b - a)[flipped], kind="stable")]
    return [(names[index], truth[names[index]].label, f"{a[index]:.6f}", f"{b[index]:.6f}") for index in in_order]


def refuse_other_policies(a: Path, b: Path) -> None:
    """Raise BadInputError if the rows beside two submissions say that one was screened and the other not."""
    policies = [{row.get("policy", REFERENCE) for row in rows_beside(path)} or {REFERENCE} for path in (a, b)]
    if len(set.union(*policies)) > 1:
        of_a, of_b = (" and ".join(sorted(names)) for names in policies)
        raise BadInputError(
            f"{a} holds scores of {of_a}, {b} of {of_b}: screened scores are compared with screened ones"
        )


def score(text: str) -> float:
    """An argparse type: a score in [0, 1]."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not in [0, 1]")
    return value


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = command_parser(__doc__)
    parser.add_argument("a", type=Path, metavar="A.csv")
    parser.add_argument("b", type=Path, metavar="B.csv")
    parser.add_argument("truth", type=Path, metavar="TRUTH", help="metadata.json, or a CSV filename,label[,original]")
    parser.add_argument("--threshold", type=score, default=0.5, metavar="T", help="of the verdicts (default: 0.5)")
    parser.add_argument("--rounds", type=positive, default=1000, help="of the bootstrap (default: 1000)")
    parser.add_argument("--output", type=Path, default=Path("comparison"), metavar="DIR", help="default: comparison")
    return parser.parse_args()


def main() -> int:
    """Compare, print, write."""
    options = parse_arguments()
    refuse_other_policies(options.a, options.b)
    truth, first, second = read_truth(options.truth), read_scores(options.a), read_scores(options.b)
    names = [name for name in first if name in second and name in truth]
    if not names:
        raise BadInputError(f"{options.a}, {options.b} and the truth have no video in common")
    a, b = (np.array([scores[name] for name in names]) for scores in (first, second))
    labels, originals = (np.array([getattr(truth[name], field) for name in names]) for field in ("label", "original"))
    result = compare(labels, a, b, originals, options.threshold, options.rounds)
    options.output.mkdir(parents=True, exist_ok=True)
    write_json(options.output / "comparison.json", asdict(result))
    flips = flipped_rows(names, truth, a, b, options.threshold)
    write_table(options.output / "flipped.csv", [("filename", "label", "a", "b"), *flips])
    print(f"AUC of A {result.auc_a:.4f}, of B {result.auc_b:.4f}")
    print(f"difference {result.difference:+.4f}, 95% interval {result.low:+.4f} to {result.high:+.4f} by originals")
    print(f"DeLong's p {result.p_value:.2g}: how often chance alone makes a difference of at least this size")
    print(f"verdicts flipped: {result.flipped}, of which {result.mended} became right and the others wrong")
    left_out = len(first.keys() | second.keys()) - len(names)
    print(f"compare: {len(names)} videos, {left_out} left out; {options.output / 'comparison.json'}")
    return 0


if __name__ == "__main__":
    run_script(main)
