"""What a score means: the share of real faces that score as high or higher.

`calibration.json` beside the checkpoints holds these rates for one set of members. `quality.sets --calibration`
measures them on the crops of the validation sets, every set alike, each crop scored as a picture.
"""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from common.atomic import write_text
from common.digests import sha256
from common.errors import BadInputError
from inference.members import Member

FILE = "calibration.json"


@dataclass(frozen=True)
class Calibration:
    """Rates of real faces by score: `rates[i]` is the share that scores at least `scores[i]`; scores rise from 0."""

    members: Mapping[str, str]  # sha256 of the checkpoints
    scores: tuple[float, ...]
    rates: tuple[float, ...]

    def rate(self, score: float) -> float:
        """The share of real faces that score as high or higher, as of the last score of the table below this one."""
        return self.rates[bisect_right(self.scores, score) - 1]


def digests(members: Mapping[str, Member], models: Path) -> dict[str, str]:
    """The sha256 of the members' checkpoints."""
    return {name: sha256(models / member.file) for name, member in members.items()}


def share_above(reals: Sequence[np.ndarray], score: float) -> float:
    """The share of real faces that score at least so high: the mean over the sets whose scores are given."""
    return float(np.mean([np.mean(scores >= score) for scores in reals]))


def of_real_faces(rate: float) -> str:
    """A rate in words."""
    count = f"{1000 * rate:.0f}" if rate >= 0.001 else "fewer than 1"
    return f"{count} of 1,000 real faces score as high"


def rates_of(reals: Sequence[np.ndarray]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scores 0, .01, ..., 1 and the share of real faces above each."""
    steps = tuple(step / 100 for step in range(101))
    return steps, tuple(round(share_above(reals, step), 6) for step in steps)


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write a file of rates, atomically."""
    write_text(path, json.dumps(asdict(calibration)) + "\n")


def read_calibration(path: Path) -> Calibration:
    """Read a file of rates. Raises FileNotFoundError, or BadInputError if it is none."""
    try:
        content = json.loads(path.read_bytes())
        scores, rates = (tuple(float(value) for value in content[key]) for key in ("scores", "rates"))
        calibration = Calibration(dict(content["members"]), scores, rates)
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{path} is no calibration: {error}") from error
    if len(scores) != len(rates) or not scores or scores[0] != 0 or list(scores) != sorted(scores):
        raise BadInputError(f"{path} is no calibration: its scores must rise from 0, with a rate each")
    return calibration


def calibration_of(members: Mapping[str, Member], models: Path, path: Path | None) -> Calibration | None:
    """The calibration of these members: that of `path`, or the one beside the checkpoints if it was made for them.

    Raises BadInputError if `path` was made for others.
    """
    file = path or models / FILE
    if path is None and not file.is_file():
        return None
    calibration = read_calibration(file)
    if calibration.members.keys() == members.keys() and calibration.members == digests(members, models):
        return calibration
    if path is not None:
        raise BadInputError(f"{path} was made for other members: {', '.join(calibration.members)}")
    return None
