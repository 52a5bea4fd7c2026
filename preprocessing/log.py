"""What happened to each video: a JSON line a video, in one file per shard beside the faces."""

import errno
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
from pebble import ProcessExpired

from faces.video import DecodeError, UnsupportedError

Row = dict[str, Any]
DONE = ("ok", "no_face")
# Errors of the place that is written to, not of a video: every further one would fail too.
NO_PLACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def failure(error: Exception) -> Row:
    """The status, the reason and the frames read before, of a video that failed with one of `common.stage.FAILURES`."""
    frames = error.frames if isinstance(error, DecodeError) else 0
    reason = str(error) or type(error).__name__
    match error:
        case UnsupportedError():
            status = "unsupported"
        case DecodeError():
            status = "decode_error"
        case FileNotFoundError():
            status, reason = "missing", f"{error.filename} does not exist"
        case ProcessExpired():
            status, reason = "crashed", f"its worker died ({reason}): a crash of the decoder, out of memory, or killed"
        case TimeoutError():
            status, reason = "crashed", "stuck: its worker was stopped"
        case MemoryError() | cv2.error():
            status = "crashed"
        case _:
            status = "write_error"
    return {"status": status, "reason": reason, "frames": frames}


class Log:
    """Appends rows to `<faces>/preprocess-<i>-of-<n>.jsonl`, each in one write."""

    def __init__(self, faces: Path, index: int, count: int) -> None:
        self.path = faces / f"preprocess-{index}-of-{count}.jsonl"

    def append(self, video: str, row: Row) -> None:
        """Add a row, with the time; what a crash of the machine left of the last one stays a line of its own."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"video": video, "time": now} | row) + "\n"  # ASCII: names need not be UTF-8
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, ("\n" * torn + line).encode())
        finally:
            os.close(descriptor)


def read_rows(faces: Path) -> dict[str, Row]:
    """The latest row of each video, over the logs of all shards, whatever their number was."""
    rows: dict[str, Row] = {}
    for path in sorted(faces.glob("preprocess-*-of-*.jsonl")):
        for row in _rows(path):
            if row["video"] not in rows or rows[row["video"]]["time"] <= row["time"]:
                rows[row["video"]] = row
    return rows


def _rows(path: Path) -> Iterator[Row]:
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except ValueError:  # the end of a line that was being written when the machine went down
            continue
        if isinstance(row, dict) and {"video", "time", "status"} <= row.keys():
            yield row
