"""Two evidences of one video compared, leaf by leaf of their JSON.

DeepDiff was looked at and left out: most of this is the tolerance of each place, which it does not know.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TOLERANCE = 1e-3  # of a score, between machines and runtimes: ten times what inference.networks.export lets pass
PIXELS = 1.0  # of a box
ODDS = 0.05  # of a covered crop's log odds: a pixel more or less may be covered
IGNORED = (  # the format, a picture and sentences of what numbers say, where the file lies, and who asked
    *("schema", "thumbnail", "conclusion", "input.path", "case"),
)
DERIVED = ("false_positive_rate", "verdict", "judgement.")  # read off the scores, by the calibration, in steps
DERIVED_ENDS = ("false_positive_rate", "verdict", ".proven")  # ends of places that are read off other numbers
SOURCES = ("input.", "provenance.")  # what the numbers come from


@dataclass(frozen=True)
class Difference:
    """A leaf that differs: its place, such as `members.lite0.score`, and both values (None for an absent leaf)."""

    place: str
    before: object
    after: object

    @property
    def distance(self) -> float:
        """How far apart two numbers are; infinite unless both are numbers."""
        if is_number(self.before) and is_number(self.after):
            return abs(float(self.after) - float(self.before))  # type: ignore[arg-type]  # both are numbers
        return math.inf

    @property
    def allowed(self) -> float:
        """How far apart they may be: PIXELS for boxes, ODDS for covered crops, TOLERANCE for scores, 0 for the rest."""
        if ".box[" in self.place or self.place == "conditions.face_pixels":
            return PIXELS
        if ".where[" in self.place and isinstance(self.before, float):
            return ODDS
        return TOLERANCE if isinstance(self.before, float) else 0.0

    @property
    def is_name(self) -> bool:
        """Whether it says what numbers come from, or says in words what numbers say."""
        return self.place.startswith(SOURCES) or self.is_text or self.is_new

    @property
    def is_text(self) -> bool:
        """Whether both values are words; status and verdict count as numbers."""
        return isinstance(self.before, str) and isinstance(self.after, str) and self.place not in ("status", "verdict")

    @property
    def is_new(self) -> bool:
        """Whether only one evidence has maps: older evidence has none, and ONNX files without maps give none."""
        is_map = ".where[" in self.place or self.place.endswith((".where", ".place"))
        return is_map and (self.before in (None, "") or self.after in (None, ""))

    @property
    def is_derived(self) -> bool:
        """Whether the leaf is read off other numbers."""
        return self.place.startswith(DERIVED) or self.place.endswith(DERIVED_ENDS)

    def __str__(self) -> str:
        distance = f" ({self.distance:.1e})" if math.isfinite(self.distance) else ""
        return f"{self.place} {self.before} -> {self.after}{distance}"


def is_number(value: object) -> bool:
    """Whether a leaf is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, object]]:  # noqa: ANN401 - JSON
    """Each leaf of a JSON value with its place."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, f"{place}.{name}" if place else name)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from leaves(item, f"{place}[{index}]")
    else:
        yield place, value


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[Difference]:
    """The leaves in which two evidences differ."""
    old, new = dict(leaves(before)), dict(leaves(after))
    return [
        Difference(place, old.get(place), new.get(place))
        for place in old | new
        if not place.startswith(IGNORED) and (place not in old or place not in new or old[place] != new[place])
    ]


def split(all_differences: list[Difference]) -> tuple[list[Difference], list[Difference]]:
    """The differences in what numbers come from and what they are called, and those in the numbers themselves.

    Status and verdict count as numbers. What is read off other numbers counts as a name if these differ too, or if the
    calibration does.
    """
    names = [difference for difference in all_differences if difference.is_name]
    derived = [difference for difference in all_differences if not difference.is_name and difference.is_derived]
    numbers = [difference for difference in all_differences if not difference.is_name and not difference.is_derived]
    if numbers or any(difference.place == "provenance.calibration" for difference in names):
        return names + derived, numbers
    return names, derived
