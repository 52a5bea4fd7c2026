"""Two evidences of one video compared, leaf by leaf of their JSON."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TOLERANCE = 1e-3  # of a score, between machines and runtimes: ten times what inference.networks.export lets pass
PIXELS = 1.0  # of a box
ODDS = 0.05  # of a covered crop's log odds: a pixel more or less may be covered
IGNORED = ("schema", "thumbnail", "input.path")  # the form, pictures of what the numbers say, where the file lies
DERIVED = ("false_positive_rate", "verdict", "judgement.")  # read off the scores, by the calibration, in steps
ENDS = ("false_positive_rate", "verdict", ".proven")  # of places of what is read off other numbers
PARTS = ("input.", "provenance.")  # what the numbers come from


@dataclass(frozen=True)
class Difference:
    """A leaf that differs: its place, as `members.lite0.score`, and both values; None for a leaf that is not there."""

    place: str
    before: object
    after: object

    @property
    def distance(self) -> float:
        """How far apart numbers are; infinite for what is not a number on both sides."""
        if is_number(self.before) and is_number(self.after):
            return abs(float(self.after) - float(self.before))  # type: ignore[arg-type]  # both are numbers
        return math.inf

    @property
    def allowed(self) -> float:
        """How far apart they may be: scores and shares by TOLERANCE, boxes by PIXELS, everything else not at all.

        Log odds of covered crops may be apart by ODDS.
        """
        if ".box[" in self.place or self.place == "conditions.face_pixels":
            return PIXELS
        if ".where[" in self.place and isinstance(self.before, float):
            return ODDS
        return TOLERANCE if isinstance(self.before, float) else 0.0

    def __str__(self) -> str:
        apart = f" ({self.distance:.1e})" if math.isfinite(self.distance) else ""
        return f"{self.place} {self.before} -> {self.after}{apart}"


def is_number(value: object) -> bool:
    """Whether a leaf is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, object]]:  # noqa: ANN401 - JSON
    """Each leaf of a JSON value with its place."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, f"{place}.{name}" if place else name)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from leaves(item, f"{place}[{number}]")
    else:
        yield place, value


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[Difference]:
    """The leaves in which two evidences differ."""
    one, other = dict(leaves(before)), dict(leaves(after))
    places = [place for place in one | other if not place.startswith(IGNORED)]
    return [
        Difference(place, one.get(place), other.get(place))
        for place in places
        if place not in one or place not in other or one[place] != other[place]
    ]


def split(found: list[Difference]) -> tuple[list[Difference], list[Difference]]:
    """What the numbers come from or what they are called, and the numbers themselves, the status and the verdict."""
    beside = [one for one in found if one.place.startswith(PARTS) or is_text(one) or is_new(one)]
    numbers = [one for one in found if one not in beside]
    moved = [one for one in numbers if not one.place.startswith(DERIVED) and not one.place.endswith(ENDS)]
    if moved or any(one.place == "provenance.calibration" for one in beside):  # what is read off the scores follows
        return [*beside, *(one for one in numbers if one not in moved)], moved
    return beside, numbers


def is_new(one: Difference) -> bool:
    """Whether only one evidence says where a score comes from: older ones do not, nor ONNX files without maps."""
    is_map = ".where[" in one.place or one.place.endswith((".where", ".place"))
    return is_map and (one.before in (None, "") or one.after in (None, ""))


def is_text(one: Difference) -> bool:
    """Whether a leaf only says in words what numbers say."""
    return isinstance(one.before, str) and isinstance(one.after, str) and one.place not in ("status", "verdict")
