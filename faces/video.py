"""Decode videos a frame at a time, by PyAV (ffmpeg's libraries).

Its pixels equal OpenCV's on DFDC's H.264 (contract, section 0). OpenCV itself is not used: its version 5 shows
interlaced video as black frames without a warning, and stops at a damaged packet as if the video ended there.

A video's frames are those that a player shows: of the stream that players choose, without what an edit list hides or
what the decoder only refers to. Times are a player's too: its clock begins with the first of the file's streams.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, TypeVar

import av
import numpy as np

from faces.containers import avi_pictures, lacks_media
from faces.notes import which_stream
from faces.streams import (
    DecodeError,
    Orientation,
    Packets,
    UnsupportedError,
    choose_stream,
    declared_frames,
    decode,
    has_all,
    in_seconds,
    open_video,
    orientation_of,
    rate_of,
    reaches,
)

# If more than these are missing, the stream broke off, unless its last frame is at the video's end: then frames in the
# middle are lost.
LOST_FRAMES = 5
TRANSFERS = {16: "PQ", 18: "HLG"}  # HDR's transfer characteristics (ITU-T H.273)

Item = TypeVar("Item")


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
    size: int  # of the stream's packets, or of a picture's file, in bytes
    still: bool = False  # a picture, not a video (faces.stills)

    @property
    def bits_per_pixel(self) -> float:
        """How many bits the file spends on a pixel of a frame: the less, the harder it is compressed."""
        return 8 * self.size / (max(self.frames, 1) * self.height * self.width)

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
            said.append(which_stream(self.stream, self.streams))
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
    with open_video(path) as container:
        lack = lacks_media(path)
        stream, streams, packets = choose_stream(path, container)
        index, declared = stream.index, declared_frames(path, stream)
        lacking = max((declared or 0) - packets.stored, 0)
        empty = lacking > 0 and avi_pictures(path, index) >= (declared or 0)
        if lack and not empty and not has_all(container, stream, packets, declared, lack):
            raise DecodeError(str(lack), _count_decodable(path, index))
    with open_video(path) as container:
        for frame in decode(path, container, index, lambda: None):
            return _info(container, index, frame, packets, declared, streams, 0 if empty else lacking, empty)
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
        with open_video(self.path) as container:
            size, length = None, 1 / self.info.fps if self.info.fps else 0.0
            for frame in decode(self.path, container, self.info.stream, self._count_damage):
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

    def again(self, numbers: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Read the frames with these numbers once more, as `read_some` does."""
        return read_some(self.path, self.info, numbers)

    def _count_damage(self) -> None:
        self.damaged += 1

    def _check_the_end(self) -> None:
        """Raise DecodeError if frames are missing at the end."""
        if self.frames == 0:
            raise DecodeError(f"{self.path}: no frame can be decoded")
        expected, rate = self.info.expected, self.info.fps
        end = self.info.last + 1 / rate if rate and self.info.end is None else self.info.end
        if expected - self.frames > LOST_FRAMES and not reaches(self.last, end, rate, LOST_FRAMES + 1):
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
    lacking: int,
    stands_still: bool,
) -> VideoInfo:
    """What container and first frame say, put together; `lacking` is how many frames the packets do not hold."""
    stream = container.streams[index]
    assert isinstance(stream, av.VideoStream)
    orientation = orientation_of(frame)
    height, width = orientation.upright(np.empty((frame.height, frame.width, 1), np.uint8)).shape[:2]
    start = container.start_time / av.time_base if container.start_time is not None else (frame.time or 0.0)
    rate = rate_of(stream, packets)
    end = in_seconds((stream.start_time or 0) + stream.duration, stream) - start if stream.duration else None
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
        last=in_seconds(packets.last or 0, stream) - start,
        expected=packets.shown + lacking,
        stands_still=stands_still,
        size=packets.size,
    )


def _count_decodable(path: Path, index: int) -> int:
    try:
        with open_video(path) as container:
            return sum(1 for _ in decode(path, container, index, lambda: None))
    except DecodeError as error:
        return error.frames
