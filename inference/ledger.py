"""The ledger of a run: what is done so far, so that the run can go on after a kill.

It is `<output>.partial.jsonl`: a first line with everything that the results depend on, then a line per video.
"""

import errno
import json
import os
from collections.abc import Collection
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import BadInputError
from common.files import FileState, atomic_file, file_beside, file_state

if TYPE_CHECKING:
    from inference.scorer import Video

LEDGER = ".partial.jsonl"  # suffix of the file beside a submission

Json = dict[str, Any]


def same_file(before: FileState | None, now: FileState | None) -> bool:
    """Whether size and modification time are the same, whatever the path. A missing file is never the same."""
    return before is not None and now is not None and before[1:] == now[1:]


def sources_of(path: Path) -> dict[str, FileState | None]:
    """The states of the files in a run's ledger, by name."""
    with path.open("rb") as file:
        lines = map(json.loads, islice(file, 1, None))
        return {line["name"]: line["source"] for line in lines}


def state_of(video: "Video") -> FileState | None:
    """The state of a video's file and of the other files that its result depends on; None if it does not exist."""
    states = [file_state(path) for path in (video.path, *video.depends_on)]
    state = states[0]
    return None if state is None else [*state, *(fact for other in states[1:] if other for fact in other[1:])]


class Ledger:
    """Keeps each video's result, as JSON, with the state of the file that it comes from.

    The results stay in the file: only their offsets are in memory.
    """

    def __init__(self, output: Path, settings: Json) -> None:
        """Find what an earlier run left beside `output`.

        Raises BadInputError if that run had other settings, or if the file is damaged.
        """
        self.path, self.settings = file_beside(output, LEDGER), settings
        self.offsets: dict[str, int] = {}  # of the line of each result, in bytes, by name
        begun = self._find()
        if begun and "source" in begun:
            raise BadInputError(f"{self.path} lacks its beginning, as if two runs had written it: remove it")
        if self.offsets and begun != settings:
            hint = "remove it, or choose another --output"
            raise BadInputError(f"{self.path} was begun with other members, weights or options: {hint}")
        if begun != settings:
            self.path.unlink(missing_ok=True)
            self._append(settings)

    def _find(self) -> Json | None:
        """Find all complete lines, and remove a last line that was cut off; return the first one."""
        begun: Json | None = None
        offset = 0
        if self.path.exists():
            with self.path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        os.truncate(self.path, offset)
                        break
                    try:
                        content = json.loads(line)
                        if offset == 0:
                            begun = content
                        else:
                            name, _source, _result = (content[key] for key in ("name", "source", "result"))
                            self.offsets[name] = offset
                    except (ValueError, LookupError, TypeError) as error:
                        raise BadInputError(f"{self.path} is damaged, remove it: {error!r}") from error
                    offset += len(line)
        return begun

    def _append(self, line: Json) -> int:
        """Append a line in one write; return its offset. Raises OSError if the disk is full."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = (json.dumps(line) + "\n").encode()
        with self.path.open("ab", buffering=0) as file:
            offset = file.tell()
            if file.write(content) < len(content):  # a part fitted; the next run removes it
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        return offset

    def _line(self, name: str) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.offsets[name])
            return file.readline()

    def __getitem__(self, name: str) -> Json:
        """The latest result of a video. Raises KeyError if there is none."""
        result: Json = json.loads(self._line(name))["result"]
        return result

    def result(self, name: str, now: FileState | None) -> Json | None:
        """The latest result of a video, if its file is still in the state `now`; else None."""
        if name not in self.offsets:
            return None
        entry = json.loads(self._line(name))
        return entry["result"] if entry["source"] == now else None

    def add(self, name: str, source: FileState | None, result: Json) -> None:
        """Add the result of a video whose file was in the state `source`."""
        self.offsets[name] = self._append({"name": name, "source": source, "result": result})

    def close(self, names: Collection[str]) -> None:
        """Remove the results of these videos, which are written elsewhere by now, and the ledger if it has no others.

        Others are what an interrupted run over other videos has finished, and goes on from.
        """
        others = [name for name in self.offsets if name not in names]
        if not others:
            self.path.unlink(missing_ok=True)
            return
        with atomic_file(self.path) as temporary, temporary.open("wb") as file:
            file.write((json.dumps(self.settings) + "\n").encode())
            file.writelines(map(self._line, others))
