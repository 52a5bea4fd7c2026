"""What logs, rows and reports say about a video, so that all use the same words."""

from typing import NamedTuple

import cv2
from pebble import ProcessExpired

from common.status import Status
from faces.streams import ChangedError, DecodeError, UnsupportedError


def which_stream(stream: int, streams: int) -> str:
    """Which stream of a file is read."""
    return f"stream {stream} of the file, one of {streams} video streams"


def faces_in(showing: int, frames: int) -> str:
    """How many frames show faces."""
    return f"faces in {showing} of {frames} frames"


class Failure(NamedTuple):
    """Why a video failed: its status, the reason in one line, and how many frames were read before."""

    status: Status
    reason: str
    frames: int


def failure(error: Exception, other: Status) -> Failure:
    """The Failure for an exception of `common.workers.FAILURES`; other system errors get the status `other`."""
    frames = error.frames if isinstance(error, DecodeError) else 0
    reason = str(error) or type(error).__name__
    match error:
        case UnsupportedError():
            status = Status.UNSUPPORTED
        case ChangedError():
            status = Status.CHANGED
        case DecodeError():
            status = Status.DECODE_ERROR
        case FileNotFoundError():
            status, reason = Status.MISSING, f"{error.filename} does not exist"
        case ProcessExpired():
            causes = "a crash of the decoder, out of memory, or killed"
            status, reason = Status.CRASHED, f"its worker died ({reason}): {causes}"
        case TimeoutError():
            status, reason = Status.CRASHED, "stuck: its worker was stopped"
        case MemoryError() | cv2.error():
            status = Status.CRASHED
        case _:
            status = other
    return Failure(status, reason, frames)
