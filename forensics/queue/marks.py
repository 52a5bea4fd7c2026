"""What a reviewer says that videos are, kept in a CSV, and what that says about the rates."""

import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from common.errors import BadInputError
from common.files import from_text, write_table_for_people
from common.lock import locked
from common.tables import read_table
from forensics.queue.order import Queue
from inference.results import utf8_name

KINDS = ("real", "fake", "unclear")
COLUMNS = ("filename", "mark", "note")
SHA256 = "sha256"  # a further column, where the contents are known
WAIT = 10.0  # seconds for another reviewer's mark to be written
Z95 = 1.959964  # quantile of the normal distribution for intervals of 95%


class Mark(NamedTuple):
    """A mark, one of KINDS, or "" for a video without a mark; and a note."""

    mark: str = ""
    note: str = ""


class Marks:
    """The marks in a file. Several reviewers may mark the videos of one queue at once.

    A mark belongs to a file's name and, where it is known, to its content (`sha256`), so that it does not count for
    another file of that name. Columns that reviewers add are kept.
    """

    def __init__(self, path: Path) -> None:
        """Read the file if it exists. Raises BadInputError if it does not hold marks."""
        self.path = path
        self.read()

    def read(self) -> None:
        """Read the file again, which another reviewer may have written. Raises BadInputError."""
        rows: dict[tuple[str, str], dict[str, str]] = {}
        columns = list(COLUMNS)
        try:
            for line, cells in read_table(self.path, COLUMNS, errors="strict") if self.path.exists() else ():
                row = {column: from_text(cell or "") for column, cell in cells.items() if column is not None}
                columns, key = list(row), (row["filename"], row.get(SHA256, ""))
                if row["mark"] not in ("", *KINDS):
                    raise BadInputError(f"{self.path}:{line}: a mark is one of {', '.join(KINDS)}, or nothing")
                if key in rows:
                    raise BadInputError(f"{self.path}:{line}: {key[0]} is there twice")
                rows[key] = row
        except BadInputError as error:
            raise BadInputError(f"{self.path} is not a file of marks: {error}") from error
        self.rows, self.columns = rows, columns

    def get(self, filename: str, sha256: str | None = None) -> Mark:
        """A video's mark. A mark of another content does not count, if both contents are known."""
        name = utf8_name(filename)
        row = self.rows.get((name, sha256 or "")) or self.rows.get((name, ""))
        return Mark(row["mark"], row["note"]) if row else Mark()

    def set(self, filename: str, mark: Mark, sha256: str | None = None) -> None:
        """Mark a video: add this to the marks that the file holds by now.

        Raises ValueError for an unknown mark, or a note that is not UTF-8, and BadInputError if another process writes
        the file for longer than WAIT seconds.
        """
        if mark.mark not in ("", *KINDS):
            raise ValueError(f"{mark.mark!r} is not one of {', '.join(KINDS)}")
        mark.note.encode()
        name = utf8_name(filename)
        lock = self.path.with_name(f".{self.path.name}.lock")
        with locked(lock, f"{self.path} is being written already", WAIT, remove=True):
            self.read()
            before = self.rows.pop((name, sha256 or ""), None) or self.rows.pop((name, ""), {})
            row = before | {"filename": name, "mark": mark.mark, "note": mark.note}
            if sha256:
                row[SHA256] = sha256
                self.columns += [SHA256] if SHA256 not in self.columns else []
            if any(cell for column, cell in row.items() if column not in ("filename", SHA256)):
                self.rows[name, sha256 or ""] = row
            lines = ([row.get(column, "") for column in self.columns] for row in self.rows.values())
            write_table_for_people(self.path, [self.columns, *lines])


def wilson_interval(part: int, whole: int) -> tuple[float, float]:
    """The 95% interval of the fraction part / whole, by Wilson's score method (1927).

    scipy has it too, but is not in the small environment for scoring.
    """
    middle = part + Z95**2 / 2
    half_width = Z95 * math.sqrt(part * (whole - part) / whole + Z95**2 / 4)
    return (middle - half_width) / (whole + Z95**2), (middle + half_width) / (whole + Z95**2)


def summarise(queue: Queue, marks: Marks) -> list[str]:
    """Sentences on what the marks say about the false-discovery rate, and about each verdict; none without marks."""
    sentences = []
    under = Counter(marks.get(video.filename, video.sha256).mark for video in queue.videos[: queue.discoveries])
    if decided := under["real"] + under["fake"]:
        low, high = wilson_interval(under["real"], decided)
        sentences.append(
            f"of {decided} marked videos under a false-discovery rate of {queue.fdr:g}, {under['real']} are real: "
            f"{under['real'] / decided:.1%} ({low:.1%} to {high:.1%})"
        )
    by_verdict: dict[str, Counter[str]] = {}
    for video in queue.videos:
        if mark := marks.get(video.filename, video.sha256).mark:
            by_verdict.setdefault(video.verdict, Counter())[mark] += 1
    for verdict, counts in by_verdict.items():
        sentences.append(f"{verdict}: " + ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind]))
    return sentences
