"""Why the faces of a video could not be found: a status and a reason for each error that reading it may raise."""

from typing import NamedTuple

import cv2
from pebble import ProcessExpired

from common.status import Status
from faces.streams import ChangedError, DecodeError, UnsupportedError


class Failure(NamedTuple):
    """A video's status, the reason in one line, and how many frames were read before it failed."""

    status: Status
    reason: str
    frames: int


def failure(error: Exception, other: Status) -> Failure:
    """The Failure for an exception of `common.stage.FAILURES`; other errors of the system get the status `other`."""
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
            status, reason = (
                Status.CRASHED,
                f"its worker died ({reason}): a crash of the decoder, out of memory, or killed",
            )
        case TimeoutError():
            status, reason = Status.CRASHED, "stuck: its worker was stopped"
        case MemoryError() | cv2.error():
            status = Status.CRASHED
        case _:
            status = other
    return Failure(status, reason, frames)
