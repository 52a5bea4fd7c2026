"""What others sample or crop otherwise: lines of `quality.protocols` for which some videos are scored anew."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from faces.crops import SCALE
from faces.masks import Known
from inference.plan import Settings, plan
from inference.predict import score_videos
from inference.rows import Row
from inference.run import Output
from quality.protocols import Line, auc_of, whole_videos
from quality.sets.layouts import Item

One = TypeVar("One")


class Change(NamedTuple):
    """Settings other than ours: what they are called, whose they are, the file of their submission."""

    name: str
    whose: str
    settings: Settings
    file: str


def changes(settings: Settings) -> list[Change]:
    """The settings to compare with: the first frames, and crops with more margin (with less, if ours have most)."""
    own = {member.crop_fraction for member in plan(settings).members.values()}
    fraction, crop = (1 / SCALE, "the box itself") if own == {1.0} else (1.0, f"{SCALE:g} times the box")
    ours = ", ".join(f"{SCALE * one:.2f}" for one in sorted(own))
    return [
        Change(
            f"the first {settings.max_frames} frames",
            "those who read a video from its start",
            replace(settings, first=True),
            "first_frames.csv",
        ),
        Change(
            f"crops of {crop}, not {ours} times",
            "those who crop so, with networks trained so",
            replace(settings, crop_fraction=fraction),
            "crops.csv",
        ),
    ]


def spread(items: Sequence[One], most: int) -> list[One]:
    """At most so many of the items, spread evenly over their order."""
    return list(items) if most >= len(items) else [items[number * len(items) // most] for number in range(most)]


def lines_anew(
    items: Sequence[Item],
    rows: Mapping[str, Row],
    root: Path,
    settings: Settings,
    folder: Path,
    most: int,
    known_of: Mapping[str, Known],
) -> list[Line]:
    """A line for each of `changes`, from at most so many videos, against our AUC on the same ones.

    Masks choose the same faces. The submissions lie in `folder`, so that a killed run goes on.
    """
    masks = {name: Known(mask=known.mask) for name, known in known_of.items()}
    chosen = spread(items, most)
    ours, found = auc_of(whole_videos(chosen, rows)), []
    for name, whose, other, file in changes(settings):
        paths = {item.key: root / item.key for item in chosen}
        scored = score_videos(paths, other, Output(folder / file), known_of=masks)
        theirs = auc_of(whole_videos(chosen, {row.filename: row for row in scored}))
        found.append(Line(f"{name} ({len(chosen)} videos, ours {ours:.4f})", theirs, len(chosen), theirs - ours, whose))
    return found
