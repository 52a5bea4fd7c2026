"""The table of several data sets: the AUC of each detector on each set, and its mean over the sets.

Every video of a set counts, one without a score as 0.5: detectors can only be compared on the same videos. There is a
mean only where every set was measured.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from common.files import write_table, write_text
from common.status import Status
from quality.report import table_cell


class Row(NamedTuple):
    """A data set by a detector: the content of benchmark.json, or why there is none."""

    detector: str
    set: str
    report: Mapping[str, Any] | None
    reason: str

    @property
    def auc(self) -> tuple[float, float, float]:
        """The AUC of whole videos with its interval; NaN if there is none."""
        nothing = (math.nan, math.nan, math.nan)
        return nothing if self.report is None else self.report["overall"].get("video_auc", nothing)

    @property
    def note(self) -> str:
        """How many videos were scored, or why none was."""
        if self.report is None:
            return f"{self.detector}, {self.set}: {self.reason}"
        coverage = self.report["coverage"]
        fakes = [statuses for name, statuses in coverage.items() if name != "real"]
        of_class = {"real": [coverage.get("real", {})], "fake": fakes}
        videos = {label: sum(sum(statuses.values()) for statuses in counts) for label, counts in of_class.items()}
        unscored = sum(videos.values()) - sum(statuses.get(Status.OK, 0) for statuses in coverage.values())
        return f"{self.detector}, {self.set}: {videos['real']} real, {videos['fake']} fake; {unscored} without a score"


def write_sets_table(folder: Path, rows: Sequence[Row]) -> str:
    """Write sets.csv and sets.md, a line per detector and a column per set; return the text of the latter."""
    detectors, sets = (
        list(dict.fromkeys(names)) for names in zip(*((row.detector, row.set) for row in rows), strict=True)
    )
    by_pair = {(row.detector, row.set): row.auc for row in rows}
    cells: list[tuple[str, ...]] = [("detector", *sets, "mean")]
    lines = [f"| {' | '.join(cells[0])} |", "|---" * len(cells[0]) + "|"]
    for detector in detectors:
        areas = [by_pair[detector, name] for name in sets]
        mean = number(fmean(area for area, _, _ in areas))
        cells.append((detector, *(number(area) for area, _, _ in areas), mean))
        lines.append(f"| {' | '.join((detector, *(table_cell(*area) for area in areas), mean))} |")
    write_table(folder / "sets.csv", cells)
    text = "\n".join([*lines, "", *(f"- {row.note}" for row in rows)])
    write_text(folder / "sets.md", text + "\n")
    return text


def number(value: float) -> str:
    """An AUC with four decimals, or nothing for NaN."""
    return "" if math.isnan(value) else f"{value:.4f}"
