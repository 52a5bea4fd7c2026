"""How `calibration.json` is fitted: strata of real faces or videos by their conditions, for inference.verdicts.

All real ones begin as one stratum. It is cut at the median of the measure whose halves differ most in score (by the
Kolmogorov-Smirnov distance), and so are the parts, while both halves hold enough real ones and differ by more than
chance.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import ks_2samp

from common.files import write_text
from inference.sampling.sampled import Conditions
from inference.verdicts import EXACT, LEANS_FAKE_RATE, LEAST, MEASURES, REFERENCE, Calibration, Range, Recall, Stratum
from quality.measures import FALSE_POSITIVES, OperatingPoint, operating_points
from quality.platt import Platt, fit_platt

ENOUGH = 200  # real ones in a stratum that was cut off: 2 of them make a rate of 1%
DEPTH = 3  # at most this many cuts after one another
CHANCE = 0.001  # probability of so large a difference between halves that do not differ
KEPT_SCORES = 300  # in the table of a stratum
KEPT_HIGHEST = EXACT  # of these are the highest ones, without gaps
MARGIN = 1.25  # a video may lie beyond the least and the greatest real one by this factor


@dataclass(frozen=True)
class RealScores:
    """Scores of real faces or videos, as arrays of one length N.

    Several versions of the same face or video have the same source. In every stratum the weights are scaled so that
    their sum is 1.
    """

    names: tuple[str, ...]  # of the M measures
    scores: np.ndarray  # float [N] in [0, 1]
    measures: np.ndarray  # float [N, M]
    sources: np.ndarray  # str [N]
    weights: np.ndarray  # float [N]

    def part(self, chosen: np.ndarray) -> "RealScores":
        """The chosen ones, by a bool [N]."""
        arrays = (self.scores, self.measures, self.sources, self.weights)
        return RealScores(self.names, *(values[chosen] for values in arrays))

    @property
    def first(self) -> np.ndarray:
        """The index of one version of each source, int [count]: versions are not independent."""
        return np.unique(self.sources, return_index=True)[1]

    @property
    def count(self) -> int:
        """The number of sources."""
        return len(self.first)

    @property
    def effective(self) -> float:
        """How many sources of equal weight tell as much (the effective sample size; Kish, 1965)."""
        weights = self.weights[self.first]
        return float(weights.sum() ** 2 / (weights**2).sum())


def real_scores(
    scores: Sequence[float],
    conditions: Sequence[Conditions | None],
    sources: Sequence[str],
    weights: Sequence[float] | None = None,
) -> RealScores:
    """Scores of real faces or videos, with the measures that are known of all of them.

    The sequences have one length. Raises ValueError if they are empty.
    """
    if not len(scores):
        raise ValueError("a calibration needs real faces or videos")
    known = [asdict(condition) if condition else {} for condition in conditions]
    names = tuple(name for name in MEASURES if all(values.get(name) is not None for values in known))
    measures = np.array([[values[name] for name in names] for values in known], float)
    counted = np.ones(len(scores)) if weights is None else np.array(weights, float)
    return RealScores(names, np.array(scores, float), measures, np.array(sources), counted)


def make_strata(real: RealScores) -> tuple[Stratum, ...]:
    """The strata of real faces or videos."""
    lows, highs = real.measures.min(0, initial=np.inf) / MARGIN, real.measures.max(0, initial=0) * MARGIN
    ranges: dict[str, Range] = {
        name: (float(low), None if MEASURES[name].open else float(high))
        for name, low, high in zip(real.names, lows, highs, strict=True)
    }
    return tuple(stratum_from(part, within) for part, within in cut(real, ranges, DEPTH))


def cut(real: RealScores, ranges: dict[str, Range], depth: int) -> list[tuple[RealScores, dict[str, Range]]]:
    """The parts with their ranges, after at most `depth` cuts; one part if there are too few or too similar scores."""
    best: tuple[float, int, float] | None = None
    for column in range(len(real.names) if depth else 0):
        middle = float(np.median(real.measures[:, column]))
        low, high = halves(real, column, middle)
        if min(low.count, high.count) >= ENOUGH:
            test = ks_2samp(low.scores[low.first], high.scores[high.first])
            if test.pvalue < CHANCE and (best is None or test.statistic > best[0]):
                best = (float(test.statistic), column, middle)
    if best is None:
        return [(real, ranges)]
    _, column, middle = best
    name = real.names[column]
    least, greatest = ranges[name]
    return [
        part
        for half, within in zip(halves(real, column, middle), ((least, middle), (middle, greatest)), strict=True)
        for part in cut(half, ranges | {name: within}, depth - 1)
    ]


def halves(real: RealScores, column: int, middle: float) -> tuple[RealScores, RealScores]:
    """Those whose measure in a column is at most `middle`, and those above."""
    below = real.measures[:, column] <= middle
    return real.part(below), real.part(~below)


def stratum_from(real: RealScores, ranges: Mapping[str, Range]) -> Stratum:
    """The stratum of real faces or videos within these ranges.

    A rate is never below the counted one: where a long table leaves scores out, it is the rate of a lower score. So are
    the counts, which the KEPT_HIGHEST highest scores have without gaps.
    """
    effective, order = real.effective, np.argsort(real.scores)
    scores, weights = real.scores[order], real.weights[order] / real.weights.sum()
    known = np.unique(scores)
    lower = np.searchsorted(scores, known, side="right")  # how many are not above
    above = 1 - np.concatenate([[0], np.cumsum(weights)])[lower]
    counts = len(scores) - lower
    if len(known) > KEPT_SCORES:
        first_of_highest = len(known) - KEPT_HIGHEST
        sparse = np.linspace(0, first_of_highest - 1, KEPT_SCORES - KEPT_HIGHEST).astype(int)
        chosen = np.concatenate([sparse, np.arange(first_of_highest, len(known))])
        known, above, counts = known[chosen], above[chosen], counts[chosen]
    positive = known > 0
    shares = np.concatenate([[1.0], np.maximum(above[positive], 0)])
    rates = (effective * shares + 1) / (effective + 1)
    return Stratum(
        ranges,
        real.count,
        scores=(0.0, *known[positive].tolist()),
        rates=tuple(round(rate, 6) for rate in rates.tolist()),
        counts=(len(scores), *counts[positive].tolist()),
        counted=len(scores),
        weighted=bool(np.ptp(weights)),
    )


class StratumPoint(NamedTuple):
    """For a false-positive rate, the score above which a stratum calls a video fake, and the share of fakes found."""

    rate: float
    threshold: float | None  # None: no score is rare enough
    recall: float | None  # None: no fake is in the stratum


def stratum_points(
    stratum: Stratum, fakes: Sequence[float], conditions: Sequence[Conditions | None], rates: Sequence[float]
) -> list[StratumPoint]:
    """A stratum's points at some rates, by the scores and conditions of fakes; those in other strata do not count."""
    inside = np.array(
        [score for score, condition in zip(fakes, conditions, strict=True) if not stratum.outside(condition)]
    )
    points = []
    for rate in rates:
        rare = [score for score, least in zip(stratum.scores, stratum.rates, strict=True) if least <= rate]
        threshold = rare[0] if rare else None
        recall = float(np.mean(inside > (1 if threshold is None else threshold))) if len(inside) else None
        points.append(StratumPoint(rate, threshold, recall))
    return points


def with_recall(stratum: Stratum, points: Sequence[StratumPoint]) -> Stratum:
    """The stratum with the recall among its points that a verdict speaks of."""
    point = next(point for point in points if point.rate == LEANS_FAKE_RATE)
    if point.threshold is None or point.recall is None:
        return stratum
    return replace(stratum, recall=Recall(point.rate, round(point.threshold, 6), round(point.recall, 4)))


def strata_table(calibration: Calibration, points: Sequence[Sequence[StratumPoint]]) -> str:
    """A Markdown table with a line per stratum: its conditions, its real ones, threshold and recall at each rate."""
    rates = [point.rate for point in points[0]]
    head = " | ".join(f"fake above, at {100 * rate:g}% | finds" for rate in rates)
    lines = [f"| {calibration.unit} | real | {head} |", "|---" * (2 + 2 * len(rates)) + "|"]
    for stratum, of_stratum in zip(calibration.strata, points, strict=True):
        cells = [
            "" if value is None else f"{value:{digits}}"
            for point in of_stratum
            for value, digits in ((point.threshold, ".4f"), (point.recall, ".1%"))
        ]
        lines.append(f"| {stratum.words or 'all'} | {stratum.reals} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_calibration(path: Path, calibration: Calibration, more: Mapping[str, object]) -> None:
    """Write a calibration atomically, one line per stratum, and in the same file `more` values that were fitted."""
    content = asdict(calibration)
    del content["recall"]  # read from the operating points, which are among the others
    if calibration.policy == REFERENCE:
        del content["policy"]  # as in files of before there was another
    lines = ",\n".join(json.dumps(stratum) for stratum in content.pop("strata"))
    head = json.dumps(content | dict(more), indent=1).removesuffix("\n}")
    write_text(path, f'{head},\n "strata": [\n{lines}\n ]\n}}\n')


class CalibrationData(NamedTuple):
    """What a calibration is fitted on: N faces or videos.

    Versions of the same face or video have the same source. Without weights all count alike.
    """

    labels: np.ndarray  # int [N], 1 for FAKE
    scores: np.ndarray  # float [N] in [0, 1]
    originals: np.ndarray  # str [N]
    conditions: Sequence[Conditions | None]
    sources: Sequence[str]
    platt_weights: np.ndarray | None = None  # float [N]
    rate_weights: np.ndarray | None = None  # float [N], of the false-positive rates


class FittedCalibration(NamedTuple):
    """What was fitted: rates, Platt scaling, the operating points over all, and the strata as a Markdown table."""

    calibration: Calibration
    platt: Platt
    points: list[OperatingPoint]
    table: str

    @property
    def more(self) -> dict[str, object]:
        """What `write_calibration` takes besides the calibration."""
        return self.platt._asdict() | {"operating_points": [point._asdict() for point in self.points]}


def fit_calibration(
    members: Mapping[str, str], unit: str, data: CalibrationData, rounds: int, policy: str = REFERENCE
) -> FittedCalibration:
    """Fit a calibration of these members (sha256 of the checkpoint by name).

    `unit` is one of `inference.verdicts.UNITS`, `rounds` those of the bootstrap. `policy`, one of POLICIES there, says
    which frames of videos were scored. Raises ValueError if a class is missing, if fewer than LEAST are real, or if
    higher scores do not go with FAKE.
    """
    if 0 < (count := int((data.labels == 0).sum())) < LEAST:
        raise ValueError(f"a calibration takes at least {LEAST} real {unit}, not {count}")
    platt = fit_platt(data.labels, data.scores, data.platt_weights)
    points = operating_points(data.labels, data.scores, data.originals, rounds)
    real, fake = (np.flatnonzero(data.labels == label).tolist() for label in (0, 1))
    strata = make_strata(
        real_scores(
            data.scores[real].tolist(),
            [data.conditions[index] for index in real],
            [data.sources[index] for index in real],
            None if data.rate_weights is None else data.rate_weights[real].tolist(),
        )
    )
    fakes = data.scores[fake].tolist(), [data.conditions[index] for index in fake]
    by_stratum = [stratum_points(stratum, *fakes, FALSE_POSITIVES) for stratum in strata]
    calibration = Calibration(members, unit, tuple(map(with_recall, strata, by_stratum)), policy=policy)
    return FittedCalibration(calibration, platt, points, strata_table(calibration, by_stratum))
