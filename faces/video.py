"""Decode videos a frame at a time, by PyAV (ffmpeg's libraries).

Its pixels equal OpenCV's on DFDC's H.264 (contract, section 0). OpenCV itself is not used: its version 5 shows
interlaced video as black frames without a warning, and stops at a damaged packet as if the video ended there.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import av
import numpy as np
from av.stream import Disposition

from common.errors import BadInputError
from faces.containers import cut_off, in_fragments, is_container

# A container may declare a few frames more than its edit list shows (98 against 95 in a clip of the demo). If more than
# these are missing, the stream broke off, unless its last frame is at the video's end: then frames in the middle are
# lost.
HIDDEN_FRAMES = 5
# The formats that are opened, whatever the file's name. Playlists are not among them, because they name other files.
OPTIONS = {"format_whitelist": "mov,matroska,avi,mpegts,mpeg,flv,asf", "protocol_whitelist": "file"}

OnDamage = Callable[[], None]
Item = TypeVar("Item")


class DecodeError(BadInputError):
    """The file is cut off, stops decoding midway, or cannot be read. `frames` is how many frames could be decoded."""

    def __init__(self, message: str, frames: int = 0) -> None:
        super().__init__(message)
        self.frames = frames


class UnsupportedError(BadInputError):
    """The file is no video, or one whose size changes midway."""


class VideoInfo(NamedTuple):
    """The number of frames of a video, their upright size in pixels, and their rate per second.

    `frames` is what the container declares, else its number of packets. `rotation` is by how many degrees,
    counterclockwise, the stored frames are turned to stand upright.
    """

    frames: int
    height: int
    width: int
    fps: float
    rotation: int


def probe(path: Path) -> VideoInfo:
    """What the container declares, and what the first frame shows.

    Raises UnsupportedError, DecodeError, FileNotFoundError.
    """
    with _open(path) as container:
        stream = _video_stream(path, container)
        declared, fps = _declared(path, stream).frames, _rate(stream)
        for frame in _decode(path, container, lambda: None):
            height, width = upright(frame).shape[:2]
            return VideoInfo(declared, height, width, fps, 90 * _turns(frame))
    raise DecodeError(f"{path}: no frame can be decoded")


def read_frames(path: Path, interval: int = 1, on_damage: OnDamage = lambda: None) -> Iterator[np.ndarray]:
    """Yield frames 0, interval, 2*interval, ... as upright BGR uint8 arrays of shape [height, width, 3].

    `on_damage` is called for every packet that cannot be decoded; the frames before and after it are yielded. Damage
    that the decoder conceals, as H.264's does inside a slice, is not noticed.

    Before the first frame it raises UnsupportedError, DecodeError or FileNotFoundError if the file is no video, cut off
    or missing. After the last frame it raises DecodeError if the stream ended early, or UnsupportedError if the size
    changed. The caller must then discard the frames it got.
    """
    with _open(path) as container:
        for number, frame in enumerate(_decode_all(path, container, on_damage)):
            if number % interval == 0:
                yield upright(frame)


def read_some(path: Path, numbers: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield number and pixels of the frames with these numbers, counted from 0, in order. Raises as `read_frames`."""
    if not numbers:
        return
    last = max(numbers)
    with _open(path) as container:
        for number, frame in enumerate(_decode_all(path, container, lambda: None)):
            if number in numbers:
                yield number, upright(frame)
            if number == last:
                return


def frame_times(path: Path) -> list[float]:
    """When each frame is shown, in seconds after the first, in order; empty if the packets have no timestamps.

    Raises UnsupportedError, DecodeError, FileNotFoundError.
    """
    with _open(path) as container:
        stream = _video_stream(path, container)
        stamps = sorted(packet.pts for packet in container.demux(stream) if packet.size and packet.pts is not None)
        return [_seconds(stamp - stamps[0], stream) for stamp in stamps]


def in_batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in lists of up to `size`."""
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def upright(frame: av.VideoFrame) -> np.ndarray:
    """A decoded frame as BGR uint8 [height, width, 3], turned as its metadata asks."""
    converted = frame.reformat(format="bgr24", threads=1)
    plane = converted.planes[0]
    image = np.ndarray(
        (converted.height, converted.width, 3), np.uint8, memoryview(plane), strides=(plane.line_size, 3, 1)
    )
    turns = _turns(frame)
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _turns(frame: av.VideoFrame) -> int:
    """How many quarter turns, counterclockwise, the metadata asks for; other angles are rounded to quarter turns."""
    return round(frame.rotation / 90) % 4


def _decode_all(path: Path, container: av.container.InputContainer, on_damage: OnDamage) -> Iterator[av.VideoFrame]:
    """Yield every frame; raises DecodeError at the end if some are missing, UnsupportedError where the size changes."""
    stream = _video_stream(path, container)
    number, size, last = 0, None, None
    for number, frame in enumerate(_decode(path, container, on_damage), start=1):
        size = size or (frame.width, frame.height)
        if (frame.width, frame.height) != size:
            raise UnsupportedError(
                f"{path}: the size changes from {size[0]}x{size[1]} to {frame.width}x{frame.height} at frame {number}"
            )
        last = frame.time
        yield frame
    if number == 0:
        raise DecodeError(f"{path}: no frame can be decoded")
    declared = _declared(path, stream)
    if number < declared.frames - HIDDEN_FRAMES and not _at_end(stream, last, declared):
        raise DecodeError(f"{path}: decoding stopped after {number} of {declared.frames} frames", number)


def _decode(path: Path, container: av.container.InputContainer, on_damage: OnDamage) -> Iterator[av.VideoFrame]:
    """Decode packet by packet on one thread, so that the same damage always has the same effect."""
    stream = _video_stream(path, container)
    stream.codec_context.thread_count = 1
    decoded = 0
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                on_damage()
                continue
            decoded += len(frames)
            yield from frames
    except av.error.FFmpegError as error:
        raise DecodeError(f"{path}: reading stopped after {decoded} frames: {error.strerror}", decoded) from error


@contextmanager
def _open(path: Path) -> Iterator[av.container.InputContainer]:
    """Open the file; raises DecodeError with the number of decodable frames if it is cut off.

    Raises FileNotFoundError if it is missing, UnsupportedError if it is no video.
    """
    complaint = None
    try:
        if path.stat().st_size == 0:
            raise DecodeError(f"{path}: the file is empty")
        complaint = cut_off(path)
        container = av.open(f"file:{path}", options=OPTIONS, metadata_errors="replace")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DecodeError(f"{path}: {error.strerror}") from error
    except av.error.FFmpegError as error:
        if complaint or is_container(path):
            raise DecodeError(complaint or f"{path}: cut off or damaged, nothing in it can be read") from error
        raise UnsupportedError(f"{path}: not a video that ffmpeg can open") from error
    with container:
        if complaint:
            raise DecodeError(complaint, _count_decodable(path, container))
        try:
            yield container
        except av.error.FFmpegError as error:
            raise DecodeError(f"{path}: {error.strerror}") from error


def _video_stream(path: Path, container: av.container.InputContainer) -> av.VideoStream:
    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:  # a cover picture
            continue
        if stream.codec_context is None:
            raise UnsupportedError(f"{path}: ffmpeg has no decoder for its video stream")
        return stream
    raise UnsupportedError(f"{path}: has no video stream")


def _count_decodable(path: Path, container: av.container.InputContainer) -> int:
    try:
        return sum(1 for _ in _decode(path, container, lambda: None))
    except DecodeError as error:
        return error.frames


def _rate(stream: av.VideoStream) -> float:
    return float(stream.average_rate or stream.guessed_rate or 0)


def _seconds(stamp: int, stream: av.VideoStream) -> float:
    """A timestamp of a stream in seconds; 0 if the stream does not declare the unit of its timestamps."""
    return float(stamp * stream.time_base) if stream.time_base else 0.0


class _Declared(NamedTuple):
    """How many frames there should be, and when the last one ends, in seconds."""

    frames: int
    end: float


def _declared(path: Path, stream: av.VideoStream) -> _Declared:
    """What the container declares, or else what its packets show.

    The packets count where the container declares no number of frames, as in Matroska, or may not count all of them, as
    with an MP4 in fragments.
    """
    rate = _rate(stream) or 1.0
    if stream.frames and not in_fragments(path):
        start = _seconds(stream.start_time or 0, stream)
        length = _seconds(stream.duration, stream) if stream.duration else stream.frames / rate
        return _Declared(stream.frames, start + length)
    with av.open(f"file:{path}", options=OPTIONS, metadata_errors="replace") as container:
        times = [packet.pts or 0 for packet in container.demux(_video_stream(path, container)) if packet.size]
    return _Declared(len(times), _seconds(max(times, default=0), stream) + 1 / rate)


def _at_end(stream: av.VideoStream, last: float | None, declared: _Declared) -> bool:
    """Whether the last frame, at `last` seconds, is at the declared end of the video."""
    rate = _rate(stream)
    return last is not None and rate > 0 and declared.end - last <= (HIDDEN_FRAMES + 1) / rate
