"""The ledger of a run: what is done so far, so that the run can go on after a kill.

It is `<output>.partial.jsonl`: a first line with everything that the results depend on, then a line per video.
"""

import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import BadInputError
from common.files import FileState, file_beside, file_state, write_text

if TYPE_CHECKING:
    from inference.scorer import Video

LEDGER = ".partial.jsonl"  # suffix of the file beside a submission

Json = dict[str, Any]


def same_file(before: FileState | None, now: FileState | None) -> bool:
    """Whether size and modification time are the same, whatever the path. A missing file is never the same."""
    return before is not None and now is not None and before[1:] == now[1:]


def sources_of(path: Path) -> dict[str, FileState | None]:
    """The states of the files in a run's ledger, by name."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return {line["name"]: line["source"] for line in lines[1:]}


def state_of(video: "Video") -> FileState | None:
    """The state of a video's file and of the other files that its result depends on; None if it does not exist."""
    states = [file_state(path) for path in (video.path, *video.depends_on)]
    state = states[0]
    return None if state is None else [*state, *(fact for other in states[1:] if other for fact in other[1:])]


class Ledger:
    """Keeps each video's result, as JSON, with the state of the file that it comes from."""

    def __init__(self, output: Path, settings: Json) -> None:
        """Read what an earlier run left beside `output`.

        Raises BadInputError if that run had other settings, or if the file is damaged.
        """
        self.path, self.settings = file_beside(output, LEDGER), settings
        lines = self._read()
        begun = lines[0] if lines else None
        if begun and "source" in begun:
            raise BadInputError(f"{self.path} lacks its beginning, as if two runs had written it: remove it")
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
        """Read all complete lines, and remove a last line that was cut off."""
        if not self.path.exists():
            return []
        whole = self.path.read_bytes().rpartition(b"\n")[0]
        os.truncate(self.path, len(whole) + (len(whole) > 0))
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise BadInputError(f"{self.path} is damaged, remove it: {error}") from error

    def _append(self, line: Json) -> None:
        """Append a line in one write."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            file.write((json.dumps(line) + "\n").encode())

    def result(self, name: str, now: FileState | None) -> Json | None:
        """The result of a video whose file is still in the state `now`; None if there is no such result."""
        source, result = self.results.get(name, (None, None))
        return result if source == now else None

    def add(self, name: str, source: FileState | None, result: Json) -> None:
        """Add the result of a video whose file was in the state `source`."""
        self._append({"name": name, "source": source, "result": result})

    def close(self, names: Collection[str]) -> None:
        """Remove the results of these videos, which are written elsewhere by now, and the ledger if it has no others.

        Others are what an interrupted run over other videos has finished, and goes on from.
        """
        others = {name: entry for name, entry in self.results.items() if name not in names}
        if not others:
            self.path.unlink(missing_ok=True)
            return
        lines = [self.settings]
        lines += [{"name": name, "source": source, "result": result} for name, (source, result) in others.items()]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))
