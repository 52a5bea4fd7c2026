"""Whether two detectors really differ on the same videos, and which verdicts flipped.

Reads  two score files of any kind (quality.score_files) and the truth as quality.evaluate does
Writes <output>/comparison.json, flipped.csv

Only videos with a truth that stand in both files count; a video without a score counts as .5. Two tests of the
difference of the areas under the ROC curve: DeLong's (Biometrics 1988), which takes videos as independent, and a paired
bootstrap that draws originals, each with its fakes, which does not. A verdict flips where one score is above
--threshold and the other is not.

    python -m quality.compare before.csv after.csv metadata.json
"""

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
from sklearn.metrics import roc_auc_score

from common.command import positive, run_script
from common.errors import BadInputError
from common.files import write_table, write_text
from quality.evaluate import Truth, read_scores, read_truth
from quality.measures import intervals


@dataclass(frozen=True)
class Comparison:
    """Areas under the ROC curve of A and B, and B's less A's with its interval; `p_value` is DeLong's, two-sided."""

    videos: int
    auc_a: float
    auc_b: float
    difference: float
    low: float  # of the 95 % interval by the bootstrap
    high: float
    p_value: float
    flipped: int
    mended: int  # flips that made a wrong verdict right


def components(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each fake the share of reals below it, and for each real the share of fakes above it; ties count half."""
    fake, real = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    below = [np.searchsorted(real, scores[labels == 1], side) for side in ("left", "right")]
    above = [len(fake) - np.searchsorted(fake, scores[labels == 0], side) for side in ("left", "right")]
    return np.mean(below, axis=0) / len(real), np.mean(above, axis=0) / len(fake)


def delong(labels: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """The two-sided p-value of the areas of two scores of the same videos being equal."""
    fakes, reals = zip(*(components(labels, scores) for scores in (a, b)), strict=True)
    covariance = np.cov(np.stack(fakes)) / len(fakes[0]) + np.cov(np.stack(reals)) / len(reals[0])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    apart = float(np.mean(fakes[1]) - np.mean(fakes[0]))
    if variance <= 1e-18:  # as where one score is perfect and the other constant
        return float(abs(apart) <= 1e-12)
    return 2 * NormalDist().cdf(-abs(apart) / math.sqrt(variance))


def compare(
    labels: np.ndarray, a: np.ndarray, b: np.ndarray, originals: np.ndarray, threshold: float, rounds: int
) -> Comparison:
    """Compare scores of the same videos. Raises BadInputError unless each class has two videos."""
    if min(int((labels == 1).sum()), int((labels == 0).sum())) < 2:
        raise BadInputError("a comparison needs two videos of each class at least")

    def difference(drawn: np.ndarray, both: np.ndarray) -> dict[str, float]:
        if len(set(drawn.tolist())) < 2:
            return {"difference": math.nan}
        return {"difference": float(roc_auc_score(drawn, both[:, 1]) - roc_auc_score(drawn, both[:, 0]))}

    both = np.stack([a, b], axis=1)
    low, high = intervals(labels, both, originals, rounds, of=difference)["difference"]
    before, after = (float(roc_auc_score(labels, scores)) for scores in (a, b))
    flips = (a > threshold) != (b > threshold)
    mended = flips & ((b > threshold) == labels)
    return Comparison(
        len(labels), before, after, after - before, low, high, delong(labels, a, b), int(flips.sum()), int(mended.sum())
    )


def flipped_rows(
    names: list[str], truth: Mapping[str, Truth], a: np.ndarray, b: np.ndarray, threshold: float
) -> list[tuple[object, ...]]:
    """A row for each video whose verdict flipped, the largest change first."""
    chosen = np.flatnonzero((a > threshold) != (b > threshold))
    in_order = chosen[np.argsort(-np.abs(b - a)[chosen], kind="stable")]
    return [(names[at], truth[names[at]].label, f"{a[at]:.6f}", f"{b[at]:.6f}") for at in in_order]


def main() -> int:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", type=Path, metavar="A.csv")
    parser.add_argument("b", type=Path, metavar="B.csv")
    parser.add_argument("truth", type=Path, metavar="TRUTH", help="metadata.json, or a CSV filename,label[,original]")
    parser.add_argument("--threshold", type=float, default=0.5, metavar="T", help="of the verdicts (default: .5)")
    parser.add_argument("--rounds", type=positive, default=1000, help="of the bootstrap (default: 1000)")
    parser.add_argument("--output", type=Path, default=Path("comparison"), metavar="DIR", help="default: comparison")
    options = parser.parse_args()
    truth, first, second = read_truth(options.truth), read_scores(options.a), read_scores(options.b)
    names = [name for name in first if name in second and name in truth]
    if not names:
        raise BadInputError(f"{options.a}, {options.b} and the truth have no video in common")
    a, b = (np.array([scores[name] for name in names]) for scores in (first, second))
    labels, originals = (np.array([getattr(truth[name], field) for name in names]) for field in ("label", "original"))
    found = compare(labels, a, b, originals, options.threshold, options.rounds)
    options.output.mkdir(parents=True, exist_ok=True)
    write_text(options.output / "comparison.json", json.dumps(asdict(found), indent=1) + "\n")
    flips = flipped_rows(names, truth, a, b, options.threshold)
    write_table(options.output / "flipped.csv", [("filename", "label", "a", "b"), *flips])
    print(f"AUC of A {found.auc_a:.4f}, of B {found.auc_b:.4f}")
    print(f"difference {found.difference:+.4f}, 95 % interval {found.low:+.4f} to {found.high:+.4f} by originals")
    print(f"DeLong's p {found.p_value:.2g}: by chance alone, so large a difference comes about so often")
    print(f"verdicts flipped: {found.flipped}, of which {found.mended} became right and the others wrong")
    left = len(first.keys() | second.keys()) - len(names)
    print(f"compare: {len(names)} videos, {left} left out; {options.output / 'comparison.json'}")
    return 0


if __name__ == "__main__":
    run_script(main)
