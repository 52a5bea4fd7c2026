"""The rows of a submission under way: a line each in `<output>.partial.jsonl`, so that a kill loses at most the videos
at work.

The first line holds what the scores depend on; a ledger that was begun with something else is not gone on with.
"""

import json
import os
from pathlib import Path
from typing import Any

from common.errors import BadInputError

Row = dict[str, Any]
State = list[str | int]


def state_of(path: Path) -> State | None:
    """A file by path, size and time of change; None where there is none, or none can be."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return [str(path), facts.st_size, facts.st_mtime_ns]


class Ledger:
    """Remembers the rows of videos that are scored; `added` are those of this run."""

    def __init__(self, output: Path, settings: dict[str, Any]) -> None:
        """Read what an earlier run left beside `output`. Raises BadInputError if its settings were others."""
        self.path = output.with_suffix(".partial.jsonl")
        begun, *lines = self.read() or [None]
        if lines and begun != settings:
            hint = "remove it, or choose another --output"
            raise BadInputError(f"{self.path} was begun with other members, weights or options: {hint}")
        self.rows: dict[str, tuple[object, Row]] = {
            line["row"]["filename"]: (line["source"], line["row"]) for line in lines
        }
        self.added: list[Row] = []
        if begun != settings:
            self.path.unlink(missing_ok=True)
            self.append(settings)

    def read(self) -> list[dict[str, Any]]:
        """All whole lines; a last one that was cut off is cut away."""
        if not self.path.exists():
            return []
        whole = self.path.read_bytes().rpartition(b"\n")[0]
        os.truncate(self.path, len(whole) + (len(whole) > 0))
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise BadInputError(f"{self.path} is damaged, remove it: {error}") from error

    def append(self, line: dict[str, Any]) -> None:
        """Add a line in one write."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            file.write((json.dumps(line) + "\n").encode())

    def row(self, name: str, now: State | None) -> Row | None:
        """The row of a video that is scored, unless its file is another one now."""
        source, row = self.rows.get(name, (None, None))
        return row if row is not None and source == now else None

    def add(self, source: State | None, row: Row) -> None:
        """A video is scored, whose file was this."""
        self.append({"source": source, "row": row})
        self.added.append(row)

    def close(self) -> None:
        """The submission is written, and the rows are needed no more."""
        self.path.unlink(missing_ok=True)
