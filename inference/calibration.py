"""What a score means: how many real faces or videos, in conditions like a clip's, score as high or higher.

A calibration is of one set of members. It keeps the reals that it was fitted on apart by their conditions, in strata,
as far as there are enough of them (quality.operating_points). `quality.evaluate --fit` makes one of videos,
`shipped.sets --calibration` the shipped one of the faces of all validation sets. `calibration.json` beside the
checkpoints is taken without being asked for.

A rate is a conformal p-value (Vovk et al., Algorithmic Learning in a Random World, 2005): of n reals, k of which score
as high, (k + 1) / (n + 1). So it is never 0, and at least 1 / (n + 1) where reals are few.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.errors import BadInputError
from common.files import sha256, write_text
from inference.members import Member
from inference.sampling.conditions import MEASURES, Conditions, in_words

FILE = "calibration.json"
UNITS = ("faces", "videos")
Range = tuple[float, float | None]  # least and greatest value; None: there is no greatest


@dataclass(frozen=True)
class Stratum:
    """Reals in like conditions: the range of each measure, how many reals there are, and their rates by score.

    `rates[i]` is the rate of a score above `scores[i]`, up to the next; the scores rise from 0.
    """

    ranges: Mapping[str, Range]
    reals: int
    scores: tuple[float, ...]
    rates: tuple[float, ...]

    def rate(self, score: float) -> float:
        """The share of reals that score as high or higher."""
        return self.rates[max(bisect_left(self.scores, score) - 1, 0)]

    def lacks(self, conditions: Conditions | None) -> list[str]:
        """The measures that are not in their range; all of them if nothing is known."""
        return [name for name, (low, high) in self.ranges.items() if not within(conditions, name, low, high)]

    @property
    def words(self) -> str:
        """Its ranges, as `faces 40 to 90 pixels wide, sharpness .010 to .020`."""
        return ", ".join(range_in_words(name, *limits) for name, limits in self.ranges.items())


def within(conditions: Conditions | None, name: str, low: float, high: float | None) -> bool:
    """Whether a measure is known and in a range."""
    value = getattr(conditions, name, None)
    return value is not None and low <= value and (high is None or value <= high)


def range_in_words(name: str, low: float, high: float | None) -> str:
    """A range of a measure."""
    measure = MEASURES[name]
    least = f"{measure.of} {low:.{measure.digits}f}"
    return f"{least}{measure.unit} or more" if high is None else f"{least} to {high:.{measure.digits}f}{measure.unit}"


@dataclass(frozen=True)
class Judgement:
    """What a calibration says of a score: the share of reals that score as high, how many reals there are, and which.

    The rate is None where no stratum holds the clip; `outside` then says by which measure.
    """

    rate: float | None
    reals: int
    unit: str  # what a real is: one of UNITS
    stratum: str
    outside: str = ""

    @property
    def words(self) -> str:
        """It in a line."""
        if self.rate is None:
            return f"no real {self.unit} like this one are known: {self.outside}"
        count = f"{1000 * self.rate:.0f}" if self.rate >= 0.001 else "fewer than 1"
        return f"{count} of 1,000 real {self.unit} like this one score as high"


@dataclass(frozen=True)
class Calibration:
    """Rates of reals by score, by their conditions."""

    members: Mapping[str, str]  # sha256 of the checkpoints
    unit: str  # what a real is: one of UNITS
    strata: tuple[Stratum, ...]

    def judge(self, score: float, conditions: Conditions | None) -> Judgement:
        """What a score means in these conditions."""
        missing = [stratum.lacks(conditions) for stratum in self.strata]
        for stratum, lacks in zip(self.strata, missing, strict=True):
            if not lacks:
                return Judgement(stratum.rate(score), stratum.reals, self.unit, stratum.words)
        nearest = min(missing, key=len)
        return Judgement(None, 0, self.unit, "", ", ".join(self.why(name, conditions) for name in nearest))

    def why(self, name: str, conditions: Conditions | None) -> str:
        """Why a measure is in no stratum."""
        value = getattr(conditions, name, None)
        ranges = [stratum.ranges[name] for stratum in self.strata]
        low = min(low for low, _ in ranges)
        high = None if any(high is None for _, high in ranges) else max(high for _, high in ranges if high is not None)
        said = f"{MEASURES[name].of} of unknown size" if value is None else in_words(name, value)
        return f"{said}; known are {range_in_words(name, low, high)}"


def digests(members: Mapping[str, Member], models: Path) -> dict[str, str]:
    """The sha256 of the members' checkpoints."""
    return {name: sha256(models / member.file) for name, member in members.items()}


def write_calibration(path: Path, calibration: Calibration, more: Mapping[str, Any] | None = None) -> None:
    """Write a calibration atomically, and beside it in the file what else was fitted."""
    whole = asdict(calibration)
    strata = whole.pop("strata")
    lines = ",\n".join(json.dumps(stratum) for stratum in strata)
    head = json.dumps(whole | dict(more or {}), indent=1).removesuffix("\n}")
    write_text(path, f'{head},\n "strata": [\n{lines}\n ]\n}}\n')


def read_calibration(path: Path) -> Calibration:
    """Read a calibration. Raises FileNotFoundError, or BadInputError if it is none."""
    try:
        content = json.loads(path.read_bytes())
        strata = tuple(stratum_of(entry) for entry in content["strata"])
        calibration = Calibration(dict(content["members"]), content["unit"], strata)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"{path} is no calibration: {error!r}") from error
    if not strata or calibration.unit not in UNITS:
        raise BadInputError(f"{path} is no calibration: it needs strata, and a unit that is one of {', '.join(UNITS)}")
    return calibration


def stratum_of(entry: Mapping[str, Any]) -> Stratum:
    """A stratum of a file. Raises ValueError, KeyError or TypeError if it is none."""
    scores, rates = (tuple(float(value) for value in entry[key]) for key in ("scores", "rates"))
    if len(scores) != len(rates) or not scores or scores[0] != 0 or list(scores) != sorted(scores):
        raise ValueError("the scores of a stratum must rise from 0, with a rate each")
    ranges = {
        name: (float(low), None if high is None else float(high)) for name, (low, high) in entry["ranges"].items()
    }
    if unknown := ranges.keys() - MEASURES.keys():
        raise ValueError(f"unknown measures {', '.join(sorted(unknown))}")
    return Stratum(ranges, int(entry["reals"]), scores, rates)


def calibration_of(members: Mapping[str, Member], models: Path, path: Path | None) -> Calibration | None:
    """The calibration of these members: that of `path`, or the one beside the checkpoints if it was made for them.

    One beside the checkpoints that is no calibration, perhaps of an older release, counts as none. Raises BadInputError
    if `path` is no calibration, or was made for others.
    """
    file = path or models / FILE
    try:
        calibration = read_calibration(file)
    except (BadInputError, FileNotFoundError):
        if path is not None:
            raise
        return None
    if calibration.members.keys() == members.keys() and calibration.members == digests(members, models):
        return calibration
    if path is not None:
        raise BadInputError(
            f"{path} was made for other members: {', '.join(calibration.members) or 'for none of ours'}"
        )
    return None
