"""Decode videos a frame at a time, by PyAV (ffmpeg's libraries).

Its pixels equal OpenCV's on DFDC's H.264 (contract, section 0). OpenCV itself is not used: its version 5 shows
interlaced video as black frames without a warning, and stops at a damaged packet as if the video ended there.

A video's frames are those that a player shows: of the stream that players choose, without what an edit list hides or
what the decoder only refers to. Times are a player's too: its clock begins with the first of the file's streams.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import av
import numpy as np
from av.stream import Disposition

from common.errors import BadInputError
from faces.containers import avi_pictures, in_fragments, is_container, lacks_media
from faces.orientation import Orientation, orientation_of

# If more than these are missing, the stream broke off, unless its last frame is at the video's end: then frames in the
# middle are lost.
LOST_FRAMES = 5
# The formats that are opened, whatever the file's name. All of them keep a whole video in one file: playlists, devices,
# addresses and numbered pictures are not among them, because they name other files.
FORMATS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "live_flv", "asf", "ogg", "mxf", "gxf", "nut", "rm", "wtv"),
    *("ivf", "dv", "gif", "apng", "yuv4mpegpipe", "h261", "h263", "h264", "hevc", "vvc", "av1", "obu", "m4v", "amv"),
    *("mpegvideo", "mjpeg", "vc1", "vc1test", "dirac", "dnxhd", "cavsvideo", "avs2", "avs3", "nsv", "nuv", "swf"),
    *("dhav", "ifv", "kux", "lmlm4", "roq", "smk", "bink", "flic", "thp", "mtv", "pva", "ty", "mlv", "cine", "smjpeg"),
)
# Streams of pictures without a container. ffmpeg also takes other files for one, so that they must begin as one does.
RAW_FORMATS = (
    "h261",
    "h263",
    "h264",
    "hevc",
    "vvc",
    "av1",
    "obu",
    "m4v",
    "mpegvideo",
    "mjpeg",
    "vc1",
    "cavsvideo",
    "dv",
)
RAW_BEGINNINGS = (b"\0\0\1", b"\0\0\0\1", b"\xff\xd8")
MJPEG_SUFFIXES = (".mjpeg", ".mjpg")
OPTIONS = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}
COVERS = Disposition.attached_pic | Disposition.timed_thumbnails
TRANSFERS = {16: "PQ", 18: "HLG"}  # HDR's transfer characteristics (ITU-T H.273)

Item = TypeVar("Item")


class DecodeError(BadInputError):
    """The file is cut off, stops decoding midway, or cannot be read. `frames` is how many frames could be decoded."""

    def __init__(self, message: str, frames: int = 0) -> None:
        super().__init__(message)
        self.frames = frames


class UnsupportedError(BadInputError):
    """The file is no video, or one whose size changes midway."""


class Packets(NamedTuple):
    """What the packets of a video stream say, without decoding them: those with content, and those that are shown.

    `last` is the latest time of one that is shown, in the stream's units; None if they have no times.
    """

    stored: int
    shown: int
    last: int | None


class ChangedError(BadInputError):
    """The file was written to, or replaced, while it was read."""


class VideoInfo(NamedTuple):
    """What the container and the first frame of a video say.

    `frames` is the number that is shown, by its packets: a decoder may show fewer. `declared` is what the container
    says, None if it does not. Height and width are upright, in pixels. `stream` is the number of the video's stream in
    the file, one of `streams` that show pictures, covers not counted.
    """

    frames: int
    height: int
    width: int
    fps: float
    declared: int | None
    orientation: Orientation
    stream: int
    streams: int
    transfer: str | None  # "PQ" or "HLG" for HDR
    pixel_aspect: Fraction  # a stored pixel's width over its height
    start: float  # of a player's clock, in the stream's seconds
    end: float | None  # of the stream by its container, on a player's clock, in seconds
    last: float  # when the last packet is shown, on a player's clock, in seconds
    expected: int  # frames that a reading to the end shows, unless some are lost
    stands_still: bool  # whether the last picture is shown until the end, as by empty chunks of an AVI

    @property
    def caveats(self) -> tuple[str, ...]:
        """What sets the frames apart from what a player shows, and from what the networks were trained on."""
        said = []
        if not self.orientation.known:
            said.append("its display matrix is neither a turn nor a mirror image: frames are left as stored")
        if self.transfer:
            said.append(f"HDR ({self.transfer}), not tone-mapped")
        if self.pixel_aspect != 1:
            said.append(f"pixels {self.pixel_aspect.numerator}:{self.pixel_aspect.denominator}, not stretched")
        return tuple(said)

    @property
    def notes(self) -> tuple[str, ...]:
        """All that a person should know of how the file was read: `caveats`, the choice of the stream, turns."""
        said = []
        if self.streams > 1:
            said.append(f"stream {self.stream} of the file, one of {self.streams} video streams")
        if str(self.orientation):
            said.append(str(self.orientation))
        return (*said, *self.caveats)


class Shown(NamedTuple):
    """A frame as it is shown: its number from 0, its time on a player's clock in seconds (None if the file has no
    timestamps), its upright BGR uint8 pixels [height, width, 3].
    """

    number: int
    time: float | None
    image: np.ndarray


def probe(path: Path) -> VideoInfo:
    """What the container declares, what its packets say, and what the first frame shows.

    Raises UnsupportedError, DecodeError, FileNotFoundError; for a file that is cut off before anything is decoded.
    """
    with _open(path) as container:
        complaint = lacks_media(path)
        stream, streams, packets = _choose(path, container)
        index, declared = stream.index, _declared(path, stream)
        lacking = max((declared or 0) - packets.stored, 0)
        empty = lacking > 0 and avi_pictures(path, index) >= (declared or 0)
        if complaint and not empty and not _has_all(path, container, stream, packets, declared):
            raise DecodeError(complaint, _count_decodable(path, index))
    with _open(path) as container:
        for frame in _decode(path, container, index, lambda: None):
            info = _info(container, index, frame, packets, declared, streams)
            return info._replace(expected=packets.shown + (0 if empty else lacking), stands_still=empty)
    raise DecodeError(f"{path}: no frame can be decoded")


class Reading:
    """One pass over a video. Iterate over it, once, for the frames whose number is `chosen`.

    `frames` counts all that were decoded so far, `damaged` the packets that could not be decoded, `concealed` the
    frames in which the decoder noticed damage and filled it in, as H.264's does inside a slice. `first` and `last` are
    when the first and the last frame are shown and `end` when its time is over, on a player's clock, None if the file
    has no timestamps.

    Iterating raises DecodeError after the last frame if the stream ended early, and UnsupportedError where the size
    changes. What was read is then to be discarded.
    """

    def __init__(self, path: Path, info: VideoInfo, chosen: Callable[[int], bool] = lambda number: True) -> None:
        self.path, self.info, self.chosen = path, info, chosen
        self.frames = self.damaged = self.concealed = 0
        self.first: float | None = None
        self.last: float | None = None
        self.end: float | None = None
        self.clock = Clock()

    def __iter__(self) -> Iterator[Shown]:
        with _open(self.path) as container:
            size, length = None, 1 / self.info.fps if self.info.fps else 0.0
            for frame in _decode(self.path, container, self.info.stream, self._count_damage):
                number, self.frames = self.frames, self.frames + 1
                self.concealed += frame.is_corrupt
                size = size or (frame.width, frame.height)
                if (frame.width, frame.height) != size:
                    raise UnsupportedError(
                        f"{self.path}: the size changes from {size[0]}x{size[1]} to {frame.width}x{frame.height} "
                        f"at frame {self.frames}"
                    )
                stamp = self.clock.stamp(frame)
                time = None if stamp is None else round(stamp - self.info.start, 6) + 0.0  # no -0.0
                if time is not None:
                    own = frame.duration * float(frame.time_base or 0) or length
                    self.first = time if self.first is None else self.first
                    self.last, self.end = max(self.last or 0.0, time), max(self.end or 0.0, time + own)
                if self.chosen(number):
                    yield Shown(number, time, self.info.orientation.upright(_pixels(frame)))
        self._check_the_end()

    def _count_damage(self) -> None:
        self.damaged += 1

    def _check_the_end(self) -> None:
        """Raise DecodeError if frames are missing at the end."""
        if self.frames == 0:
            raise DecodeError(f"{self.path}: no frame can be decoded")
        expected, rate = self.info.expected, self.info.fps
        end = self.info.last + 1 / rate if rate and self.info.end is None else self.info.end
        if expected - self.frames > LOST_FRAMES and not _reaches(self.last, end, rate, LOST_FRAMES + 1):
            raise DecodeError(f"{self.path}: decoding stopped after {self.frames} of {expected} frames", self.frames)

    @property
    def duration(self) -> float:
        """When the video ends on a player's clock, in seconds: as the container says, unless its frames disagree."""
        last, end, declared = self.last, self.end, self.info.end
        if last is None or end is None:
            return self.frames / self.info.fps if self.info.fps else 0.0
        near = self.info.stands_still or (declared or 0.0) - end <= LOST_FRAMES / (self.info.fps or 1.0)
        return declared if declared is not None and last < declared and near else end


class Clock:
    """When frames are shown: by their presentation times or, where these run backwards more often, decoding times.

    H.264 in AVI has only decoding times, which ffmpeg hands on with the wrong frames. The last frames lack them: they
    follow the one before.
    """

    def __init__(self) -> None:
        self.latest: dict[str, int] = {}
        self.backwards = {"pts": 0, "dts": 0}

    def stamp(self, frame: av.VideoFrame) -> float | None:
        """The time of the next frame in the stream's seconds; None if it has none."""
        before = dict(self.latest)
        for name in ("pts", "dts"):
            value = getattr(frame, name)
            if value is None and name in before:
                value = before[name] + (frame.duration or 1)
            if value is not None:
                self.backwards[name] += value <= before.get(name, value - 1)
                self.latest[name] = value
        best = min(self.latest, key=self.backwards.__getitem__, default=None)  # of equals the first, pts
        return None if best is None or not frame.time_base else float(self.latest[best] * frame.time_base)


def read_frames(path: Path, interval: int = 1) -> Iterator[np.ndarray]:
    """Yield frames 0, interval, 2*interval, ... as upright BGR uint8 arrays of shape [height, width, 3].

    Before the first frame it raises UnsupportedError, DecodeError or FileNotFoundError if the file is no video, cut off
    or missing, later as `Reading` does.
    """
    for shown in Reading(path, probe(path), lambda number: number % interval == 0):
        yield shown.image


def read_some(path: Path, info: VideoInfo, numbers: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield number and pixels of the frames with these numbers, counted from 0, in order. Raises as `Reading`."""
    if not numbers:
        return
    last = max(numbers)
    for shown in Reading(path, info, lambda number: number in numbers):
        yield shown.number, shown.image
        if shown.number == last:
            return


def is_film(path: Path) -> bool:
    """Whether ffmpeg finds at least two pictures in the file that are not covers of its sound."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
        with _open(path) as container:
            if container.format.name in RAW_FORMATS and not head.startswith(RAW_BEGINNINGS):
                return False
            streams = [stream for stream in container.streams.video if not stream.disposition & COVERS]
            pictures = (packet for packet in container.demux(streams) if packet.size) if streams else iter(())
            return len(list(islice(pictures, 2))) == 2
    except (BadInputError, OSError):
        return False


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


def _pixels(frame: av.VideoFrame) -> np.ndarray:
    """A decoded frame as BGR uint8 [height, width, 3], as it is stored."""
    converted = frame.reformat(format="bgr24", threads=1)
    plane = converted.planes[0]
    return np.ndarray(
        (converted.height, converted.width, 3), np.uint8, memoryview(plane), strides=(plane.line_size, 3, 1)
    )


def _info(
    container: av.container.InputContainer,
    index: int,
    frame: av.VideoFrame,
    packets: Packets,
    declared: int | None,
    streams: int,
) -> VideoInfo:
    """What container and first frame say, put together."""
    stream = container.streams[index]
    assert isinstance(stream, av.VideoStream)
    orientation = orientation_of(frame)
    height, width = orientation.upright(np.empty((frame.height, frame.width, 1), np.uint8)).shape[:2]
    start = container.start_time / av.time_base if container.start_time is not None else (frame.time or 0.0)
    rate = _rate(stream, packets)
    end = _seconds((stream.start_time or 0) + stream.duration, stream) - start if stream.duration else None
    if declared and rate and container.format.name == "avi":  # of a cut file ffmpeg makes the duration smaller
        end = declared / rate
    return VideoInfo(
        frames=packets.shown,
        height=height,
        width=width,
        fps=rate,
        declared=declared,
        orientation=orientation,
        stream=index,
        streams=streams,
        transfer=TRANSFERS.get(int(frame.color_trc)),
        pixel_aspect=Fraction(stream.sample_aspect_ratio or 1),
        start=start,
        end=end,
        last=_seconds(packets.last or 0, stream) - start,
        expected=packets.shown,
        stands_still=False,
    )


def _decode(
    path: Path, container: av.container.InputContainer, index: int, on_damage: Callable[[], None]
) -> Iterator[av.VideoFrame]:
    """Decode packet by packet on one thread, so that the same damage always has the same effect."""
    stream = container.streams[index]
    assert isinstance(stream, av.VideoStream)
    stream.codec_context.thread_count = 1
    decoded = 0
    try:
        for packet in container.demux(stream):
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


@contextmanager
def _open(path: Path) -> Iterator[av.container.InputContainer]:
    """Open the file.

    Raises FileNotFoundError if it is missing, UnsupportedError if it is no video, DecodeError if it cannot be read.
    """
    try:
        if path.stat().st_size == 0:  # a pipe has this size too, and would be waited for
            raise DecodeError(f"{path}: the file is empty" if path.is_file() else f"{path}: is no file")
        container = _container(path)
    except FileNotFoundError:
        raise
    except av.error.ArgumentError as error:  # what ffmpeg says of a format that is not among FORMATS
        raise UnsupportedError(
            f"{path}: not a video of a format that is read, but perhaps a picture, a playlist or sound (docs/files.md)"
        ) from error
    except OSError as error:
        raise DecodeError(f"{path}: {error.strerror}") from error
    except av.error.FFmpegError as error:
        if is_container(path):
            complaint = lacks_media(path) or f"{path}: cut off or damaged, nothing in it can be read"
            raise DecodeError(complaint) from error
        raise UnsupportedError(f"{path}: not a video that ffmpeg can open") from error
    with container:
        try:
            yield container
        except av.error.FFmpegError as error:
            raise DecodeError(f"{path}: {error.strerror}") from error


def _container(path: Path) -> av.container.InputContainer:
    """Open the file by its content. ffmpeg takes a stream of JPEGs for one picture if they are written as such."""
    try:
        return av.open(f"file:{path}", options=OPTIONS, metadata_errors="replace")
    except av.error.ArgumentError:
        if path.suffix.lower() in MJPEG_SUFFIXES:
            return av.open(f"file:{path}", format="mjpeg", options=OPTIONS, metadata_errors="replace")
        raise


def _choose(path: Path, container: av.container.InputContainer) -> tuple[av.VideoStream, int, Packets]:
    """The stream that players show, how many streams show pictures, and what the chosen one's packets say.

    Players take the default stream, then the largest, then the longest. Covers and streams of one picture are taken
    only where there is nothing else.
    """
    streams = [stream for stream in container.streams.video if stream.codec_context is not None]
    if not streams:
        missing = "ffmpeg has no decoder for its video stream" if container.streams.video else "has no video stream"
        raise UnsupportedError(f"{path}: {missing}")
    packets = _packets(container, streams)

    def rank(stream: av.VideoStream) -> tuple[bool, bool, int, int]:
        shown = packets[stream.index].shown
        is_film = shown > 1 and not stream.disposition & COVERS
        return is_film, bool(stream.disposition & Disposition.default), stream.width * stream.height, shown

    chosen = max(streams, key=rank)  # of equals, the first
    showing = sum(not stream.disposition & COVERS for stream in streams)
    return chosen, max(showing, 1), packets[chosen.index]


def _packets(container: av.container.InputContainer, streams: list[av.VideoStream]) -> dict[int, Packets]:
    """Read through the packets of video streams; a packet that the file's end cut off does not count."""
    found = {stream.index: Packets(0, 0, None) for stream in streams}
    try:
        for packet in container.demux(streams):
            if packet.size and not packet.is_corrupt:
                stored, shown, last = found[packet.stream.index]
                if not packet.is_discard:
                    shown += 1
                    last = max(last, packet.pts) if last is not None and packet.pts is not None else packet.pts
                found[packet.stream.index] = Packets(stored + 1, shown, last)
    except av.error.FFmpegError:  # decoding meets it too, and says after how many frames
        pass
    return found


def _declared(path: Path, stream: av.VideoStream) -> int | None:
    """How many frames the container says the stream has; None if it does not say so, or what cannot be."""
    if stream.frames and stream.frames <= path.stat().st_size and not in_fragments(path):
        return stream.frames
    return None


def _has_all(
    path: Path,
    container: av.container.InputContainer,
    stream: av.VideoStream,
    packets: Packets,
    declared: int | None,
) -> bool:
    """Whether the packets are all that the container declares: their number, or else the time of the last."""
    if declared is not None:
        return packets.stored >= declared
    if in_fragments(path):  # each tells where its pictures lie; of one that is cut off itself nothing is known
        kinds = lacks_media(path) or ""
        return "'moof'" not in kinds and 0 < len(stream.index_entries) <= packets.stored
    if not container.format.name.startswith("matroska"):
        return False
    end = _tagged_duration(stream) or (container.duration or 0) / av.time_base
    return end > 0 and _reaches(_seconds(packets.last or 0, stream), end, _rate(stream, packets), 1.5)


def _tagged_duration(stream: av.VideoStream) -> float | None:
    """The seconds that Matroska's tag DURATION declares for a stream, such as 00:00:02.400000000."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    return 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3]) if match else None


def _count_decodable(path: Path, index: int) -> int:
    try:
        with _open(path) as container:
            return sum(1 for _ in _decode(path, container, index, lambda: None))
    except DecodeError as error:
        return error.frames


def _rate(stream: av.VideoStream, packets: Packets) -> float:
    """Frames per second, 0 if the container does not say.

    Without times the average is ffmpeg's default, where the guess is what the codec says. DV declares 60,000.
    """
    average, guessed = float(stream.average_rate or 0), float(stream.guessed_rate or 0)
    return guessed if guessed and (packets.last is None or average > 1.5 * guessed) else average or guessed


def _seconds(stamp: int, stream: av.VideoStream) -> float:
    """A timestamp of a stream in seconds; 0 if the stream does not declare the unit of its timestamps."""
    return float(stamp * stream.time_base) if stream.time_base else 0.0


def _reaches(last: float | None, end: float | None, rate: float, frames: float) -> bool:
    """Whether a video whose last frame is at `last` seconds was read to its `end`, but for so many frames."""
    return last is not None and end is not None and rate > 0 and end - last <= frames / rate
