"""What a reviewer found videos to be, in a CSV, and what that says of the rates."""

import csv
import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from common.errors import BadInputError
from common.files import write_table
from forensics.queue.order import Queue
from inference.results import utf8_name

KINDS = ("real", "fake", "unclear")
COLUMNS = ("filename", "mark", "note")


class Mark(NamedTuple):
    """One of KINDS, or "" for a video that is not marked; and a note."""

    mark: str = ""
    note: str = ""


class Marks:
    """The marks of a file, which is written anew with each mark."""

    def __init__(self, path: Path) -> None:
        """Read the file if it is there. Raises BadInputError if it is another one."""
        self.path = path
        self.known: dict[str, Mark] = {}
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                for row in csv.DictReader(file):
                    if not row.keys() >= set(COLUMNS) or row["mark"] not in ("", *KINDS):
                        raise ValueError(f"{','.join(COLUMNS)} are expected")
                    self.known[row["filename"]] = Mark(row["mark"], row["note"] or "")
        except FileNotFoundError:
            pass
        except ValueError as error:  # UnicodeDecodeError is one
            raise BadInputError(f"{path} is no file of marks: {error}") from error

    def of(self, filename: str) -> Mark:
        """A video's mark."""
        return self.known.get(utf8_name(filename), Mark())

    def set(self, filename: str, mark: Mark) -> None:
        """Mark a video, and write the file. Raises ValueError for an unknown mark, or a note that is no text."""
        if mark.mark not in ("", *KINDS):
            raise ValueError(f"{mark.mark!r} is not one of {', '.join(KINDS)}")
        mark.note.encode()
        known = {name: one for name, one in self.known.items() if name != utf8_name(filename)}
        if mark != Mark():
            known[utf8_name(filename)] = mark
        write_table(self.path, [COLUMNS, *((name, *one) for name, one in known.items())])
        self.known = known


def share(part: int, whole: int) -> tuple[float, float, float]:
    """A fraction with its 95 % interval by Wilson's formula (1927)."""
    z = 1.959964
    middle, spread = part + z * z / 2, z * math.sqrt(part * (whole - part) / whole + z * z / 4)
    return part / whole, (middle - spread) / (whole + z * z), (middle + spread) / (whole + z * z)


def said_of_marks(queue: Queue, marks: Marks) -> list[str]:
    """What the marks say of the false-discovery rate, and of each verdict's videos; nothing if there are none."""
    said = []
    under = Counter(marks.of(one.filename).mark for one in queue.videos[: queue.discoveries])
    if told := under["real"] + under["fake"]:
        value, low, high = share(under["real"], told)
        said.append(
            f"of {told} marked videos under a false-discovery rate of {queue.fdr:g}, {under['real']} are real: "
            f"{value:.1%} ({low:.1%} to {high:.1%})"
        )
    by_verdict: dict[str, Counter[str]] = {}
    for one in queue.videos:
        if mark := marks.of(one.filename).mark:
            by_verdict.setdefault(one.verdict, Counter())[mark] += 1
    for verdict, counted in by_verdict.items():
        said.append(f"{verdict}: " + ", ".join(f"{counted[kind]} {kind}" for kind in KINDS if counted[kind]))
    return said
