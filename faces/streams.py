"""Open a video file, choose the stream that players show, and decode its packets, for `faces.video`."""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, cast

import av
import numpy as np
from av.sidedata.sidedata import SideData
from av.stream import Disposition

from common.errors import BadInputError
from faces.containers import (
    MJPEG_SUFFIXES,
    Truncation,
    find_truncation,
    is_container,
    is_fragmented,
    other_format,
)

# The formats that are opened, whatever the file's name. All of them keep a whole video in one file. Playlists, devices,
# addresses and numbered pictures are not among them, because they refer to other files.
FORMATS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "live_flv", "asf", "ogg", "mxf", "gxf", "nut", "rm", "wtv"),
    *("ivf", "dv", "gif", "apng", "yuv4mpegpipe", "h261", "h263", "h264", "hevc", "vvc", "av1", "obu", "m4v", "amv"),
    *("mpegvideo", "mjpeg", "vc1", "vc1test", "dirac", "dnxhd", "cavsvideo", "avs2", "avs3", "nsv", "nuv", "swf"),
    *("dhav", "ifv", "kux", "lmlm4", "roq", "smk", "bink", "flic", "thp", "mtv", "pva", "ty", "mlv", "cine", "smjpeg"),
)
# Streams of pictures without a container. ffmpeg takes other files for them too, so their first bytes are checked.
RAW_FORMATS = ("h261", "h263", "h264", "hevc", "vvc", "m4v", "mpegvideo", "mjpeg", "vc1", "cavsvideo")
RAW_BEGINNINGS = (b"\0\0\1", b"\0\0\0\1", b"\xff\xd8")
OPTIONS = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}
STRAIGHT = 0.0087  # the tangent of half a degree, up to which ffmpeg rounds an angle to a quarter turn
COVERS = Disposition.attached_pic | Disposition.timed_thumbnails


class DecodeError(BadInputError):
    """The file is cut off, or stops decoding midway, or cannot be read. `frames` of it could be decoded."""

    def __init__(self, message: str, frames: int = 0) -> None:
        super().__init__(message)
        self.frames = frames


class UnsupportedError(BadInputError):
    """The file is neither a video nor a picture, or its frames change their size midway."""


class ChangedError(BadInputError):
    """The file was written to or replaced while it was read."""


class Orientation(NamedTuple):
    """How stored frames are turned to be shown: quarter turns, counterclockwise, then perhaps mirrored left to right.

    `known` is False for a display matrix that is neither, such as a shear or another angle. Frames then stay as stored.
    """

    turns: int = 0
    mirrored: bool = False
    known: bool = True

    @property
    def degrees(self) -> int:
        """The turn in degrees, counterclockwise."""
        return 90 * self.turns

    def upright(self, image: np.ndarray) -> np.ndarray:
        """A stored image [H, W, C] of any dtype as it is shown; an odd number of turns swaps height and width."""
        if not self.turns and not self.mirrored:
            return image
        turned = np.rot90(image, self.turns)
        return np.ascontiguousarray(turned[:, ::-1] if self.mirrored else turned)

    def __str__(self) -> str:
        if self.turns:
            return f"turned upright by {self.degrees} degrees" + " and mirrored" * self.mirrored
        return "mirrored, as its metadata asks" if self.mirrored else ""


class Packets(NamedTuple):
    """What the packets of a video stream tell without decoding."""

    stored: int  # packets with content
    shown: int  # those among them that are shown
    last: int | None  # the latest time of a shown one, in the stream's units; None without times
    size: int  # bytes of all with content


@contextmanager
def open_video(path: Path) -> Iterator[av.container.InputContainer]:
    """Open a video file.

    Raises FileNotFoundError if it is missing, UnsupportedError if it is not a video, DecodeError if it cannot be read.
    The last also stands for errors of ffmpeg in the block.
    """
    try:
        if path.stat().st_size == 0:  # a pipe has this size too, and reading it would wait
            raise DecodeError(f"{path}: the file is empty" if path.is_file() else f"{path}: is not a file")
        if path.is_file() and (name := other_format(path)):
            raise UnsupportedError(f"{path}: a {name} file; pictures are read as JPEG, PNG, WebP, AVIF or HEIC")
        container = _container(path)
    except FileNotFoundError:
        raise
    except av.error.ArgumentError as error:  # ffmpeg's answer to a format that is not in FORMATS
        raise UnsupportedError(
            f"{path}: not a video in a format that is read; perhaps a playlist or sound (docs/use/video_files.md)"
        ) from error
    except OSError as error:
        raise DecodeError(f"{path}: {error.strerror}") from error
    except av.error.FFmpegError as error:
        if is_container(path):
            truncation = find_truncation(path) or f"{path}: cut off or damaged, nothing in it can be read"
            raise DecodeError(str(truncation)) from error
        raise UnsupportedError(f"{path}: not a video that ffmpeg can open") from error
    with container:
        try:
            yield container
        except av.error.FFmpegError as error:
            raise DecodeError(f"{path}: {error.strerror}") from error


def _container(path: Path) -> av.container.InputContainer:
    """Open a file by its content, or by the suffix for a stream of JPEGs, which ffmpeg may take for one picture."""
    try:
        return av.open(f"file:{path}", options=OPTIONS, metadata_errors="replace")
    except av.error.ArgumentError:
        if path.suffix.lower() in MJPEG_SUFFIXES:
            return av.open(f"file:{path}", format="mjpeg", options=OPTIONS, metadata_errors="replace")
        raise


def has_moving_pictures(path: Path) -> bool:
    """Whether ffmpeg finds at least two pictures in a file, other than covers of its sound."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
        with open_video(path) as container:
            if container.format.name in RAW_FORMATS and not head.startswith(RAW_BEGINNINGS):
                return False
            streams = [stream for stream in container.streams.video if not stream.disposition & COVERS]
            pictures = (packet for packet in container.demux(streams) if packet.size) if streams else iter(())
            return len(list(islice(pictures, 2))) == 2
    except (BadInputError, OSError):
        return False


def decode(
    path: Path, container: av.container.InputContainer, index: int, on_damage: Callable[[], None]
) -> Iterator[av.VideoFrame]:
    """Decode a stream packet by packet on one thread, so that the same damage always has the same effect.

    `on_damage` is called for every packet that cannot be decoded. Raises DecodeError if the file cannot be read on.
    """
    stream = container.streams[index]
    assert isinstance(stream, av.VideoStream)
    stream.codec_context.thread_count = 1
    decoded = 0
    try:
        for packet in read_packets(container, [stream]):
            try:
                frames = packet.decode()
            except (av.error.EOFError, MemoryError):
                raise
            except av.error.FFmpegError:
                on_damage()
                continue
            decoded += len(frames)
            yield from frames
    except av.error.FFmpegError as error:
        raise DecodeError(f"{path}: reading stopped after {decoded} frames: {error.strerror}", decoded) from error


def read_packets(container: av.container.InputContainer, streams: Sequence[av.VideoStream]) -> Iterator[Any]:
    """The packets of streams, also behind a hole in an MPEG transport stream, of which ffmpeg skips 64 kB at a time."""
    while True:
        try:
            yield from container.demux(streams)
            return
        except av.error.BlockingIOError:
            continue


def choose_stream(path: Path, container: av.container.InputContainer) -> tuple[av.VideoStream, int, Packets]:
    """The stream that players show, the number of streams that show pictures, and the packets of the chosen stream.

    Players take the default stream, then the largest, then the longest. Covers and streams of one picture are taken
    only if there is nothing else. Raises UnsupportedError if no stream can be decoded.
    """
    streams = [stream for stream in container.streams.video if stream.codec_context is not None]
    if not streams:
        missing = "ffmpeg has no decoder for its video stream" if container.streams.video else "has no video stream"
        raise UnsupportedError(f"{path}: {missing}")
    packets = _packets(container, streams)

    def rank(stream: av.VideoStream) -> tuple[bool, bool, int, int]:
        shown = packets[stream.index].shown
        moves = shown > 1 and not stream.disposition & COVERS
        return moves, bool(stream.disposition & Disposition.default), stream.width * stream.height, shown

    chosen = max(streams, key=rank)  # the first of equals
    showing = sum(not stream.disposition & COVERS for stream in streams)
    return chosen, max(showing, 1), packets[chosen.index]


def _packets(container: av.container.InputContainer, streams: list[av.VideoStream]) -> dict[int, Packets]:
    """Count the packets of video streams by stream index, except a packet that the end of the file cuts off."""
    counts = {stream.index: Packets(0, 0, None, 0) for stream in streams}
    try:
        for packet in read_packets(container, streams):
            if packet.size and not packet.is_corrupt:
                stored, shown, last, size = counts[packet.stream.index]
                if not packet.is_discard:
                    shown += 1
                    last = max((time for time in (last, packet.pts) if time is not None), default=None)
                counts[packet.stream.index] = Packets(stored + 1, shown, last, size + packet.size)
    except av.error.FFmpegError:  # decoding meets it too, and reports after how many frames
        pass
    return counts


def declared_frames(path: Path, stream: av.VideoStream) -> int | None:
    """The number of frames that the container declares for a stream; None if it declares none, or an impossible one."""
    if stream.frames and stream.frames <= path.stat().st_size and not is_fragmented(path):
        return stream.frames
    return None


def is_complete(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    packets: Packets,
    declared: int | None,
    truncation: Truncation,
) -> bool:
    """Whether a truncated file still holds all packets that its container declares, by number or by the last time."""
    if declared is not None:
        return packets.stored >= declared
    if container.format.name.startswith("mov"):  # fragments say where their pictures lie, unless one of them is cut off
        return truncation.kind != b"moof" and 0 < len(stream.index_entries) <= packets.stored
    if not container.format.name.startswith("matroska"):
        return False
    end = tagged_duration(stream) or (container.duration or 0) / av.time_base
    return end > 0 and reaches_end(in_seconds(packets.last or 0, stream), end, rate_of(stream, packets), 1.5)


def tagged_duration(stream: av.VideoStream) -> float | None:
    """The seconds that Matroska's tag DURATION, such as 00:00:02.400000000, declares for a stream; None without it."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    return 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3]) if match else None


def rate_of(stream: av.VideoStream, packets: Packets) -> float:
    """Frames per second, 0 if the container does not say.

    Without times ffmpeg's average is only its default, and its guess is what the codec says. DV declares 60,000.
    """
    average, guessed = float(stream.average_rate or 0), float(stream.guessed_rate or 0)
    return guessed if guessed and (packets.last is None or average > 1.5 * guessed) else average or guessed


def in_seconds(stamp: int, stream: av.VideoStream) -> float:
    """A timestamp of a stream in seconds; 0 if the stream declares no unit of time."""
    return float(stamp * stream.time_base) if stream.time_base else 0.0


def reaches_end(last: float | None, end: float | None, rate: float, frames: float) -> bool:
    """Whether the last frame, at `last` seconds, lies within `frames` frames of the `end` of its video."""
    return last is not None and end is not None and rate > 0 and end - last <= frames / rate


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """The orientation that a frame's display matrix asks for (ISO/IEC 14496-12, 6.2.2).

    The matrix is a, b, u, c, d, v, x, y, w: a point (x, y) of the stored frame, y downwards, is shown at
    (a x + c y, b x + d y).
    """
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return Orientation()
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(cast(SideData, matrix)))
    if a and d and max(abs(b), abs(c)) <= STRAIGHT * min(abs(a), abs(d)):
        return Orientation(0 if d > 0 else 2, (a > 0) != (d > 0))
    if b and c and max(abs(a), abs(d)) <= STRAIGHT * min(abs(b), abs(c)):
        return Orientation(3 if b > 0 else 1, (b > 0) == (c > 0))
    return Orientation(known=False)
