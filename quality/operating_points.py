"""Strata of real faces or videos by their conditions, for inference.verdicts: how `calibration.json` is fitted.

All reals begin as one stratum. It is cut at the median of the measure whose halves differ most in score (Kolmogorov
and Smirnov's distance), and so are the parts, while both have enough reals and their difference is not chance.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import ks_2samp

from common.files import write_text
from inference.sampling.sampled import Conditions
from inference.verdicts import MEASURES, Calibration, Range, Stratum
from quality.measures import FALSE_POSITIVES, OperatingPoint, Platt, fit_calibration, operating_points

ENOUGH = 200  # reals in a stratum that was cut off: 2 of them make a rate of 1 %
DEPTH = 3  # at most so many cuts after one another
CHANCE = 0.001  # probability of so great a difference between halves that do not differ
KEPT = 300  # scores of a stratum that its table holds, the highest hundred among them
MARGIN = 1.25  # a clip may be so far beyond the least and greatest real


@dataclass(frozen=True)
class Reals:
    """Arrays of one length: scores in [0, 1]; measures [N, M], by the columns `names`; what each real is a form of.

    The weights say how much each counts; in every stratum they are scaled so that their sum is 1.
    """

    names: tuple[str, ...]
    scores: np.ndarray
    measures: np.ndarray
    sources: np.ndarray
    weights: np.ndarray

    def part(self, chosen: np.ndarray) -> "Reals":
        """Those that are chosen."""
        return Reals(self.names, self.scores[chosen], self.measures[chosen], self.sources[chosen], self.weights[chosen])

    @property
    def count(self) -> int:
        """How many reals there are, the forms of one counted once."""
        return len(self.first)

    @property
    def first(self) -> np.ndarray:
        """Where each real stands in one of its forms: they are not independent."""
        return np.unique(self.sources, return_index=True)[1]

    @property
    def effective(self) -> float:
        """How many reals of equal weight tell as much (Kish, 1965); the forms of one count once."""
        weights = self.weights[self.first]
        return float(weights.sum() ** 2 / (weights**2).sum())


def reals_of(
    scores: Sequence[float],
    conditions: Sequence[Conditions | None],
    sources: Sequence[str],
    weights: Sequence[float] | None = None,
) -> Reals:
    """Reals with the measures that are known of each of them. Raises ValueError if there are none."""
    if not len(scores):
        raise ValueError("a calibration needs reals")
    known = [asdict(one) if one else {} for one in conditions]
    names = tuple(name for name in MEASURES if all(one.get(name) is not None for one in known))
    measures = np.array([[one[name] for name in names] for one in known], float)
    counted = np.ones(len(scores)) if weights is None else np.array(weights, float)
    return Reals(names, np.array(scores, float), measures, np.array(sources), counted)


def strata_of(reals: Reals) -> tuple[Stratum, ...]:
    """The strata of reals."""
    lows, highs = reals.measures.min(0, initial=np.inf) / MARGIN, reals.measures.max(0, initial=0) * MARGIN
    ranges: dict[str, Range] = {
        name: (float(low), None if MEASURES[name].open else float(high))
        for name, low, high in zip(reals.names, lows, highs, strict=True)
    }
    return tuple(Stratum(within, part.count, *table_of(part)) for part, within in cut(reals, ranges, DEPTH))


def cut(reals: Reals, ranges: dict[str, Range], depth: int) -> list[tuple[Reals, dict[str, Range]]]:
    """The parts of reals with their ranges; one part if they are too few or too alike."""
    best: tuple[float, int, float] | None = None
    for column in range(len(reals.names) if depth else 0):
        middle = float(np.median(reals.measures[:, column]))
        low, high = (reals.part(side) for side in halves(reals, column, middle))
        if min(low.count, high.count) >= ENOUGH:
            found = ks_2samp(low.scores[low.first], high.scores[high.first])
            if found.pvalue < CHANCE and (best is None or found.statistic > best[0]):
                best = (float(found.statistic), column, middle)
    if best is None:
        return [(reals, ranges)]
    _, column, middle = best
    name = reals.names[column]
    least, greatest = ranges[name]
    return [
        part
        for side, within in zip(halves(reals, column, middle), ((least, middle), (middle, greatest)), strict=True)
        for part in cut(reals.part(side), ranges | {name: within}, depth - 1)
    ]


def halves(reals: Reals, column: int, middle: float) -> tuple[np.ndarray, np.ndarray]:
    """Which reals are at most at the middle of a measure, and which are above."""
    below = reals.measures[:, column] <= middle
    return below, ~below


def table_of(reals: Reals) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scores that rise from 0, and the rate above each, up to the next.

    A rate is never below the counted one: where a long table leaves scores out, it is that of a lower score.
    """
    count, order = reals.effective, np.argsort(reals.scores)
    scores, weights = reals.scores[order], reals.weights[order] / reals.weights.sum()
    known = np.unique(scores)
    above = 1 - np.concatenate([[0], np.cumsum(weights)])[np.searchsorted(scores, known, side="right")]
    if len(known) > KEPT:
        spread = np.linspace(0, len(known) - 101, KEPT - 100).astype(int)
        chosen = np.concatenate([spread, np.arange(len(known) - 100, len(known))])
        known, above = known[chosen], above[chosen]
    kept = [(0.0, 1.0), *((score, share) for score, share in zip(known, above, strict=True) if score > 0)]
    rates = [(count * max(float(share), 0.0) + 1) / (count + 1) for _, share in kept]
    return tuple(float(score) for score, _ in kept), tuple(round(rate, 6) for rate in rates)


class Fit(NamedTuple):
    """What a stratum finds: for a rate, the score above which a video is called fake, and how many fakes are."""

    rate: float
    threshold: float | None  # None: no score is rare enough
    recall: float | None  # None: no fake is in the stratum


def fits_of(
    stratum: Stratum, fakes: Sequence[float], conditions: Sequence[Conditions | None], rates: Sequence[float]
) -> list[Fit]:
    """What a stratum finds at some rates; the fakes that are in other strata do not count."""
    mine = np.array([score for score, one in zip(fakes, conditions, strict=True) if not stratum.outside(one)])
    found = []
    for rate in rates:
        above = [score for score, least in zip(stratum.scores, stratum.rates, strict=True) if least <= rate]
        threshold = above[0] if above else None
        recall = float(np.mean(mine > (1 if threshold is None else threshold))) if len(mine) else None
        found.append(Fit(rate, threshold, recall))
    return found


def lines_of(calibration: Calibration, fits: Sequence[Sequence[Fit]]) -> str:
    """A Markdown table: a line for each stratum, its conditions, its reals, and threshold and recall at each rate."""
    rates = [fit.rate for fit in fits[0]]
    head = " | ".join(f"fake above, at {100 * rate:g} % | found" for rate in rates)
    lines = [f"| {calibration.unit} | reals | {head} |", "|---" * (2 + 2 * len(rates)) + "|"]
    for stratum, mine in zip(calibration.strata, fits, strict=True):
        cells = [
            "" if value is None else f"{value:{form}}"
            for fit in mine
            for value, form in ((fit.threshold, ".4f"), (fit.recall, ".1%"))
        ]
        lines.append(f"| {stratum.words or 'all'} | {stratum.reals} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_calibration(path: Path, calibration: Calibration, more: Mapping[str, object]) -> None:
    """Write a calibration atomically, one line per stratum, and beside it in the file what else was fitted."""
    whole = asdict(calibration)
    lines = ",\n".join(json.dumps(stratum) for stratum in whole.pop("strata"))
    head = json.dumps(whole | dict(more), indent=1).removesuffix("\n}")
    write_text(path, f'{head},\n "strata": [\n{lines}\n ]\n}}\n')


class Observed(NamedTuple):
    """What a calibration is fitted on, of one length: labels (1 FAKE) and scores, originals, conditions, sources.

    `sources` say what a face or video is a form of. Without weights all count alike, for Platt's method and for rates.
    """

    labels: np.ndarray
    scores: np.ndarray
    originals: np.ndarray
    conditions: Sequence[Conditions | None]
    sources: Sequence[str]
    platt_weights: np.ndarray | None = None
    rate_weights: np.ndarray | None = None


class Fitted(NamedTuple):
    """What was fitted: Platt's method, the operating points over all, and the strata as a Markdown table."""

    platt: Platt
    points: list[OperatingPoint]
    table: str


def fit(path: Path, members: Mapping[str, str], unit: str, seen: Observed, rounds: int) -> Fitted:
    """Fit a calibration of these members (sha256 by name), and write it.

    Raises ValueError if a class is missing, or if higher scores do not go with FAKE.
    """
    platt = fit_calibration(seen.labels, seen.scores, seen.platt_weights)
    points = operating_points(seen.labels, seen.scores, seen.originals, rounds)
    real, fake = (np.flatnonzero(seen.labels == label).tolist() for label in (0, 1))
    conditions = {label: [seen.conditions[at] for at in of_class] for label, of_class in ((0, real), (1, fake))}
    weights = None if seen.rate_weights is None else seen.rate_weights[real].tolist()
    reals = reals_of(seen.scores[real].tolist(), conditions[0], [seen.sources[at] for at in real], weights)
    calibration = Calibration(members, unit, strata_of(reals))
    write_calibration(path, calibration, platt._asdict() | {"operating_points": [one._asdict() for one in points]})
    fakes = seen.scores[fake].tolist(), conditions[1]
    fits = [fits_of(stratum, *fakes, FALSE_POSITIVES) for stratum in calibration.strata]
    return Fitted(platt, points, lines_of(calibration, fits))
