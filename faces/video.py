"""Decoding by OpenCV, whose pixels equal ffmpeg's and PyAV's on DFDC's H.264 (contract, section 0). Never holds a whole video."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from common.errors import BadInputError

# A container may declare a few frames more than its edit list shows (98 against 95 in a clip of the demo);
# a stream that yields fewer than that broke off.
HIDDEN_FRAMES = 5


class DecodeError(BadInputError):
    """The file is not a video, is cut off, or stops decoding midway."""


class VideoInfo(NamedTuple):
    """What the container declares: number of frames, height and width in pixels, frames per second."""

    frames: int
    height: int
    width: int
    fps: float


def probe(path: Path) -> VideoInfo:
    """Read what the container declares; where it declares no frame count (some streams), count by decoding.

    Raises DecodeError.
    """
    capture = _open(path)
    frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    height, width = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    if frames <= 0:
        frames = 0
        while capture.grab():
            frames += 1
    capture.release()
    return VideoInfo(frames, height, width, fps)


def read_frames(path: Path, interval: int = 1) -> Iterator[np.ndarray]:
    """Yield frames 0, interval, 2*interval, ... as BGR uint8 arrays of shape [height, width, 3].

    Raises DecodeError before the first frame if the file is cut off or no video, and after the last one if the stream ended
    early: whoever wrote frames by then must discard them.
    """
    capture = _open(path)
    declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    decoded = 0
    try:
        while capture.grab():
            if decoded % interval == 0:
                ok, frame = capture.retrieve()
                if not ok:
                    raise DecodeError(f"{path}: frame {decoded + 1} cannot be decoded")
                yield frame
            decoded += 1
    finally:
        capture.release()
    if decoded == 0:
        raise DecodeError(f"{path}: no frame can be decoded")
    if decoded < declared - HIDDEN_FRAMES:
        raise DecodeError(f"{path}: decoding stopped after {decoded} of {declared} frames")


def _open(path: Path) -> cv2.VideoCapture:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "8")  # fatal only: what is wrong is said by our errors
    if path.stat().st_size == 0:
        raise DecodeError(f"{path}: the file is empty")
    if path.suffix.lower() in (".mp4", ".mov", ".m4v"):
        _check_whole(path)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise DecodeError(f"{path}: not a video that ffmpeg can open")
    return capture


def _check_whole(path: Path) -> None:
    """Walk the top-level boxes of an MP4 or QuickTime file (ISO/IEC 14496-12); raise DecodeError if one ends past the file."""
    size = path.stat().st_size
    position = 0
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            header = file.read(16)
            length, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            if length < 8:  # 0: to the end of the file; 2-7: not a box, left to the decoder
                return
            position += length
            if position > size:
                name = kind.decode("latin-1") if kind.isalnum() else "first"
                raise DecodeError(f"{path}: cut off, its {name!r} box ends at byte {position} of {size}")
