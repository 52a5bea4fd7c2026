"""What a run has done so far: a line per video in `<output>.partial.jsonl`.

A kill loses at most the videos that are being worked on. The first line holds what the results depend on. A run whose
results depend on something else refuses the ledger.
"""

import json
import os
from pathlib import Path
from typing import Any

from common.errors import BadInputError

Json = dict[str, Any]
FileState = list[str | int]


def state_of(path: Path) -> FileState | None:
    """A file's path, size and time of change; None if there is no such file."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return [str(path), facts.st_size, facts.st_mtime_ns]


def same_file(before: FileState | None, now: FileState | None) -> bool:
    """Whether size and time of change are the same, wherever the path leads from; no file is not the same as none."""
    return before is not None and now is not None and before[1:] == now[1:]


def sources_of(path: Path) -> dict[str, FileState | None]:
    """The states of the files that a run's ledger tells of, by name."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return {line["name"]: line["source"] for line in lines[1:]}


class Ledger:
    """Remembers each video's result, as JSON, and the state of the file that it comes from."""

    def __init__(self, output: Path, settings: Json) -> None:
        """Read what an earlier run left beside `output`. Raises BadInputError if it holds results of other settings."""
        self.path = output.with_suffix(".partial.jsonl")
        lines = self._read()
        begun = lines[0] if lines else None
        if len(lines) > 1 and begun != settings:
            hint = "remove it, or choose another --output"
            raise BadInputError(f"{self.path} was begun with other members, weights or options: {hint}")
        self.results: dict[str, tuple[FileState | None, Json]] = {
            line["name"]: (line["source"], line["result"]) for line in lines[1:]
        }
        if begun != settings:
            self.path.unlink(missing_ok=True)
            self._append(settings)

    def _read(self) -> list[Json]:
        """Read all whole lines; remove a last line that was cut off from the file."""
        if not self.path.exists():
            return []
        whole = self.path.read_bytes().rpartition(b"\n")[0]
        os.truncate(self.path, len(whole) + (len(whole) > 0))
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise BadInputError(f"{self.path} is damaged, remove it: {error}") from error

    def _append(self, line: Json) -> None:
        """Add a line in one write."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            file.write((json.dumps(line) + "\n").encode())

    def result(self, name: str, now: FileState | None) -> Json | None:
        """The remembered result of a video whose file is still in the state `now`, else None."""
        source, result = self.results.get(name, (None, None))
        return result if source == now else None

    def add(self, name: str, source: FileState | None, result: Json) -> None:
        """Remember the result of a video whose file was in the state `source`."""
        self._append({"name": name, "source": source, "result": result})

    def close(self) -> None:
        """Remove the ledger, once the results are written elsewhere."""
        self.path.unlink(missing_ok=True)
