"""What a score means, and what it is called: how many real faces or videos, seen in similar conditions, score as high.

A calibration belongs to one set of members. It sorts the real faces or videos that it was fitted on into strata by
their conditions, as far as there are enough of them (quality.calibration). `quality.evaluate --fit` makes a
calibration from videos; `shipped.sets --calibration` made the shipped one from the faces of all validation sets.
Scoring uses the file `calibration.json` beside the checkpoints by default.

A false-positive rate is a conformal p-value (Vovk et al., Algorithmic Learning in a Random World, 2005): if k of n real
faces score as high, it is (k + 1) / (n + 1). So it is never 0, and at least 1 / (n + 1) where real faces are few.

The rate says how rare such a score is among real faces. It never says that a video is real: a swap that the networks do
not notice scores as real videos do. So a video that scores like many real ones is called uncertain.
"""

import json
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from common.errors import BadInputError
from common.files import sha256
from common.status import Status
from inference.members import Member

if TYPE_CHECKING:
    from inference.sampling.sampled import Conditions

FILE = "calibration.json"
UNITS = ("faces", "videos")
REFERENCE, SCREEN = POLICIES = ("reference", "screen")  # which frames of a video are scored
LEAST = 100  # real faces or videos that a calibration is made from
EXACT = 100  # counts up to this are exact: a long table leaves out lower scores
Range = tuple[float, float | None]  # least and greatest value; None: no upper limit


@dataclass(frozen=True)
class Measure:
    """How a measure of `Conditions` is described: its name, the digits of its value, its unit.

    If it is `open`, a value above all that a calibration knows is no reason for doubt: the networks see no more detail.
    """

    name: str
    digits: int
    unit: str
    open: bool

    def describe(self, value: float) -> str:
        """A value, such as `faces 84 pixels wide`."""
        return f"{self.name} {value:.{self.digits}f}{self.unit}"

    def describe_range(self, low: float, high: float | None) -> str:
        """A range of values, such as `faces 40 to 90 pixels wide`."""
        least = f"{self.name} {low:.{self.digits}f}"
        return f"{least}{self.unit} or more" if high is None else f"{least} to {high:.{self.digits}f}{self.unit}"


MEASURES = {
    "face_pixels": Measure("faces", 0, " pixels wide", open=True),
    "sharpness": Measure("sharpness", 3, "", open=False),
    "light": Measure("light", 2, "", open=False),
    "bits_per_pixel": Measure("bits per pixel", 3, "", open=True),
}


@dataclass(frozen=True)
class Recall:
    """The share of the known fakes above a threshold that a share of the real faces or videos exceeds."""

    false_positives: float
    threshold: float
    share: float


@dataclass(frozen=True)
class Stratum:
    """Real faces or videos in similar conditions: the range of each measure, their number, and their rates by score.

    `rates[i]`, in (0, 1], is the rate of scores above `scores[i]`, up to and including the next; scores rise from 0.
    `counts[i]` says how many of the `counted` scores are above `scores[i]`: every version of a real face or video has
    one. If they are `weighted`, the rates are those with every data set counting alike. Calibrations of older releases
    have no counts. `recall` is that of fakes in the same conditions, at the limit of "leans fake"; None if it is not
    known.
    """

    ranges: Mapping[str, Range]
    reals: int
    scores: tuple[float, ...]
    rates: tuple[float, ...]
    counts: tuple[int, ...] = ()
    counted: int = 0
    weighted: bool = False
    recall: Recall | None = None

    def entry(self, score: float) -> int:
        """The index of the rate and the count of a score in [0, 1]."""
        return max(bisect_left(self.scores, score) - 1, 0)

    def rate(self, score: float) -> float:
        """The share of the real faces or videos that score as high or higher, in (0, 1]."""
        return self.rates[self.entry(score)]

    def outside(self, conditions: "Conditions | None") -> list[str]:
        """The measures whose values lie outside their ranges; all measures if the conditions are unknown."""
        return [name for name, (low, high) in self.ranges.items() if not within(conditions, name, low, high)]

    @property
    def words(self) -> str:
        """Its ranges, such as `faces 40 to 90 pixels wide, sharpness 0.010 to 0.020`."""
        return ", ".join(MEASURES[name].describe_range(*limits) for name, limits in self.ranges.items())


def within(conditions: "Conditions | None", name: str, low: float, high: float | None) -> bool:
    """Whether a measure is known and lies in a range."""
    value = getattr(conditions, name, None)
    return value is not None and low <= value and (high is None or value <= high)


@dataclass(frozen=True)
class Judgement:
    """What a calibration says about a score: the false-positive rate, from how many real faces or videos, and which.

    The rate is None if no stratum holds the video; `outside` then says which measure is out of range. `count` of
    `counted` scores of these real faces or videos are as high; None if nobody counted them.
    """

    rate: float | None
    reals: int
    unit: str  # what was counted: one of UNITS
    stratum: str
    outside: str = ""
    count: int | None = None
    counted: int = 0
    weighted: bool = False

    @property
    def words(self) -> str:
        """The same as a sentence: what was counted, and apart from it the rate, which is a bound."""
        if self.rate is None:
            return f"no real {self.unit} like this one are known: {self.outside}"
        digits = 0 if self.rate >= 0.1 else 1 if self.rate >= 0.01 else 2
        rate, real = f"at most {self.rate:.{digits}%}", f"{self.reals:,} real {self.unit} like this one"
        if self.count is None:
            return f"{rate} of {real} score as high"
        count = f"{'at most ' if self.count > EXACT else ''}{self.count:,}" if self.count else "none"
        of = real if self.counted == self.reals else f"{self.counted:,} versions of {real}"
        alike = " with every data set counting alike" if self.weighted else ""
        return f"{count} of {of} {'scores' if self.count < 2 else 'score'} as high, a rate of {rate}{alike}"


@dataclass(frozen=True)
class Calibration:
    """The false-positive rates of scores, by the conditions of the faces.

    `recall` is that of all known fakes, at the limit of "leans fake"; None if nobody measured it. `limits` are
    sentences on how far the rates can be trusted.
    """

    members: Mapping[str, str]  # sha256 of the checkpoints
    unit: str  # what was counted: one of UNITS
    strata: tuple[Stratum, ...]
    recall: Recall | None = None
    limits: tuple[str, ...] = ()
    policy: str = REFERENCE  # of the videos that it was fitted on

    @property
    def policies(self) -> tuple[str, ...]:
        """The policies whose scores it judges: of pictures of faces, on which all policies agree, every one."""
        return POLICIES if self.unit == "faces" else (self.policy,)

    def stratum_of(self, conditions: "Conditions | None") -> Stratum | None:
        """The stratum with these conditions; None if they are unknown or outside all strata."""
        return next((stratum for stratum in self.strata if not stratum.outside(conditions)), None)

    def judge(self, score: float, conditions: "Conditions | None") -> Judgement:
        """What a score in [0, 1] means in these conditions; None stands for unknown conditions."""
        if stratum := self.stratum_of(conditions):
            return Judgement(
                rate=stratum.rate(score),
                reals=stratum.reals,
                unit=self.unit,
                stratum=stratum.words,
                count=stratum.counts[stratum.entry(score)] if stratum.counts else None,
                counted=stratum.counted,
                weighted=stratum.weighted,
            )
        nearest = min((stratum.outside(conditions) for stratum in self.strata), key=len)
        return Judgement(None, 0, self.unit, "", ", ".join(self.why_outside(name, conditions) for name in nearest))

    def why_outside(self, name: str, conditions: "Conditions | None") -> str:
        """Why no stratum holds the value of a measure."""
        value, measure = getattr(conditions, name, None), MEASURES[name]
        ranges = [stratum.ranges[name] for stratum in self.strata]
        low = min(low for low, _ in ranges)
        high = None if any(high is None for _, high in ranges) else max(high for _, high in ranges if high is not None)
        actual = f"{measure.name} of unknown size" if value is None else measure.describe(value)
        return f"{actual}; known are {measure.describe_range(low, high)}"


def digests(members: Mapping[str, Member], models: Path) -> dict[str, str]:
    """The sha256 of each member's checkpoint, by member."""
    return {name: sha256(models / member.file) for name, member in members.items()}


def read_calibration(path: Path) -> Calibration:
    """Read a calibration. Raises FileNotFoundError, or BadInputError if the file is not one."""
    try:
        content = json.loads(path.read_bytes())
        strata = tuple(read_stratum(entry) for entry in content["strata"])
        limits = tuple(str(sentence) for sentence in content.get("limits", ()))
        calibration = Calibration(
            dict(content["members"]),
            content["unit"],
            strata,
            recall_of(content),
            limits,
            content.get("policy", REFERENCE),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"{path} is not a calibration: {error!r}") from error
    if not strata or calibration.unit not in UNITS:
        needs = f"it needs strata, and a unit that is one of {', '.join(UNITS)}"
        raise BadInputError(f"{path} is not a calibration: {needs}")
    counted = sum(stratum.reals for stratum in strata)
    if counted < LEAST:
        raise BadInputError(f"{path} was made from {counted} real {calibration.unit}: it takes at least {LEAST}")
    return calibration


def recall_of(content: Mapping[str, Any]) -> Recall | None:
    """The recall at the limit of "leans fake"; None if the content of a calibration does not hold it."""
    for point in content.get("operating_points", ()):
        if point["false_positives"] == LEANS_FAKE_RATE:
            return Recall(point["false_positives"], float(point["threshold"]), float(point["recall"]))
    return None


def read_stratum(entry: Mapping[str, Any]) -> Stratum:
    """Read a stratum. Raises ValueError, KeyError or TypeError if the entry is not one."""
    scores, rates = (tuple(float(value) for value in entry[key]) for key in ("scores", "rates"))
    if len(scores) != len(rates) or not scores or scores[0] != 0 or list(scores) != sorted(scores):
        raise ValueError("the scores of a stratum must rise from 0, with a rate each")
    ranges = {
        name: (float(low), None if high is None else float(high)) for name, (low, high) in entry["ranges"].items()
    }
    if unknown := ranges.keys() - MEASURES.keys():
        raise ValueError(f"unknown measures {', '.join(sorted(unknown))}")
    counts = tuple(int(value) for value in entry.get("counts", ()))
    if counts and len(counts) != len(scores):
        raise ValueError("a stratum with counts has one for each score")
    counted, weighted = int(entry.get("counted", 0)), bool(entry.get("weighted", False))
    recall = Recall(**entry["recall"]) if entry.get("recall") else None
    return Stratum(ranges, int(entry["reals"]), scores, rates, counts, counted, weighted, recall)


def calibration_of(
    members: Mapping[str, Member], models: Path, path: Path | None, policy: str = REFERENCE
) -> Calibration | None:
    """The calibration of these members: that of `path`, or the one beside the checkpoints if it was made for them.

    `policy` says which frames of a video are scored, one of POLICIES. A file beside the checkpoints that is not a
    calibration, perhaps of an older release, counts as none. Raises BadInputError if `path` is not a calibration, or
    was made for other members or for another policy.
    """
    try:
        calibration = read_calibration(path or models / FILE)
    except (BadInputError, FileNotFoundError):
        if path is not None:
            raise
        return None
    fits = policy in calibration.policies
    if fits and calibration.members.keys() == members.keys() and calibration.members == digests(members, models):
        return calibration
    if path is None:
        return None
    if not fits:
        raise BadInputError(f"{path} was fitted on videos with the policy {calibration.policy}, not {policy}")
    if calibration.members.keys() != members.keys():
        names = ", ".join(calibration.members) or "no members of this project"
        raise BadInputError(f"{path} was made for {names}, not for {', '.join(members)}")
    raise BadInputError(f"{path} was made for other checkpoints of {', '.join(members)}")


class VerdictName(StrEnum):
    """What a score is called."""

    LIKELY_FAKE = "likely fake"
    LEANS_FAKE = "leans fake"
    SUSPICIOUS = "suspicious"
    UNCERTAIN = "uncertain"
    NOT_SCORED = "not scored"

    @classmethod
    def _missing_(cls, value: object) -> "VerdictName | None":
        """What a score without a calibration was called by 0.1.0."""
        return cls.UNCERTAIN if value in ("undecided", "leans real", "likely real") else None


class Verdict(NamedTuple):
    """A verdict: its limit (highest rate, or lowest score without a calibration), its name, and what it means."""

    limit: float
    name: VerdictName
    meaning: str


LIKELY_FAKE, LEANS_FAKE, SUSPICIOUS, UNCERTAIN, NOT_SCORED = VerdictName
BY_RATE = (
    Verdict(0.01, LIKELY_FAKE, "Of real {unit} shown like this one, at most 1 in 100 is expected to score this high."),
    Verdict(0.05, LEANS_FAKE, "Of real {unit} shown like this one, at most 5 in 100 are expected to score this high."),
    Verdict(
        0.2,
        SUSPICIOUS,
        "Of real {unit} shown like this one, at most 20 in 100 are expected to score this high: look at the faces and "
        "the members below.",
    ),
    Verdict(
        1.0,
        UNCERTAIN,
        "Of real {unit} shown like this one, more than 20 in 100 may score this high: no sign of a face swap, and no "
        "proof that there is none.",
    ),
)
LEANS_FAKE_RATE = BY_RATE[1].limit
BY_SCORE = (
    Verdict(0.8, LIKELY_FAKE, "The members that decide agree on signs of a face swap."),
    Verdict(0.6, LEANS_FAKE, "More signs for a face swap than against it, but members or faces disagree."),
    Verdict(0.0, UNCERTAIN, "No clear sign of a face swap, and no proof that there is none."),
)
BANDS = "these members have no calibration: verdicts follow fixed bands of the score"


def verdict(status: Status, label: float, reason: str, judgement: Judgement | None) -> Verdict:
    """What a video's label is called; `judgement` is None if the members have no calibration.

    A video without a score is "not scored". A video in conditions that the calibration does not know is "uncertain".
    """
    if status != Status.OK:
        return Verdict(0.0, NOT_SCORED, f"{reason}. The label 0.5 stands for no score.")
    if judgement is None:
        return next(verdict for verdict in BY_SCORE if label >= verdict.limit)
    if judgement.rate is None:
        meaning = f"The calibration knows no real {judgement.unit} like this: {judgement.outside}."
        return Verdict(1.0, UNCERTAIN, meaning)
    by_rate = next(verdict for verdict in BY_RATE if judgement.rate <= verdict.limit)
    return by_rate._replace(meaning=by_rate.meaning.format(unit=judgement.unit))
