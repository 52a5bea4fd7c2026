"""The log of what happened to each video: a JSON line per video, in a file per shard beside the faces."""

import errno
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from common.status import Status

# Errors of the folder that is written to, not of a video: every other video would fail too.
CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class LogEntry:
    """What happened to one video. A failed video has only a status, a reason and a number of frames."""

    status: Status
    reason: str | None
    frames: int  # frames read
    declared_frames: int | None = None  # by the container; None if it declares none
    damaged_packets: int = 0  # packets that could not be decoded
    concealed_frames: int = 0  # frames whose damage the decoder noticed and filled in
    height: int | None = None  # pixels, upright
    width: int | None = None
    rotation: int | None = None  # degrees, counterclockwise, by which the frames were turned
    mirrored: bool = False  # whether left and right then changed places
    stream: int | None = None  # the number of the video's stream in the file, from 0
    streams: int = 1  # streams of the file that show pictures
    caveats: tuple[str, ...] = ()  # how the frames differ from what a player shows
    face_frames: int | None = None  # frames that show a face
    voted_faces: int = 0
    voted_frames: int | None = None  # frames that show the voted number of faces; not in older info.json files
    track_lengths: tuple[int, ...] = ()  # detections of each track
    bytes: int | None = None  # size of the files that were written
    seconds: float | None = None

    @classmethod
    def from_json(cls, row: dict[str, object]) -> Self:
        """Read an entry back; unknown keys are ignored. Raises KeyError, TypeError or ValueError for a wrong row."""
        known = {field.name: row[field.name] for field in fields(cls) if field.name in row}
        known |= {name: tuple(known.get(name, ())) for name in ("track_lengths", "caveats")}  # type: ignore[arg-type]  # JSON has no types
        return cls(**known | {"status": Status(row["status"])})  # type: ignore[arg-type]


class Log:
    """Appends entries to `<faces>/preprocess-<i>-of-<n>.jsonl`, each in one write."""

    def __init__(self, faces: Path, index: int, count: int) -> None:
        self.path = faces / f"preprocess-{index}-of-{count}.jsonl"

    def append(self, video: str, entry: LogEntry) -> None:
        """Add an entry with the time, on a new line even if a crash of the machine cut off the line before."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"video": video, "time": now} | asdict(entry)) + "\n"  # ASCII: names need not be UTF-8
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, ("\n" * torn + line).encode())
        finally:
            os.close(descriptor)


def read_log(faces: Path) -> dict[str, LogEntry]:
    """The latest entry of each video, from the logs of all runs, whatever their number of shards."""
    latest: dict[str, tuple[str, LogEntry]] = {}
    for path in sorted(faces.glob("preprocess-*-of-*.jsonl")):
        for video, time, entry in _entries(path):
            if video not in latest or latest[video][0] <= time:
                latest[video] = time, entry
    return {video: entry for video, (_, entry) in latest.items()}


def _entries(path: Path) -> Iterator[tuple[str, str, LogEntry]]:
    """Yield video, time and entry of each line, except lines that a crash of the machine cut off."""
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
            video, time, entry = row["video"], row["time"], LogEntry.from_json(row)
        except (ValueError, KeyError, TypeError):
            continue
        yield video, time, entry
