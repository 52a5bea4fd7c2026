"""Decode videos frame by frame with PyAV (ffmpeg's libraries).

The pixels equal OpenCV's on DFDC's H.264 (reference, section 0). OpenCV itself is not used: its version 5 shows
interlaced video as black frames without a warning, and stops at a damaged packet as if the video ended there.

The frames are those that a player shows: of the stream that players choose, without frames that an edit list hides or
that the decoder only refers to. Times are a player's too: its clock starts with the earliest stream of the file.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, TypeVar

import av
import numpy as np

from faces.containers import count_avi_pictures, dolby_vision_profile, find_truncation, is_encrypted
from faces.notes import which_stream
from faces.streams import (
    DecodeError,
    Orientation,
    Packets,
    UnsupportedError,
    choose_stream,
    declared_frames,
    decode,
    in_seconds,
    is_complete,
    open_video,
    orientation_of,
    rate_of,
    reaches_end,
    tagged_duration,
)

# If more frames than these are missing, the stream broke off, unless its last frame is at the end of the video: then
# frames in the middle are lost.
LOST_FRAMES = 5
TRANSFERS = {16: "PQ", 18: "HLG"}  # HDR's transfer characteristics (ITU-T H.273)
LATE = 1.0  # seconds without a frame after which something is missing

Item = TypeVar("Item")


class VideoInfo(NamedTuple):
    """What the container, the packets and the first frame of a video say. Times are seconds on a player's clock."""

    frames: int  # shown by the packets; a decoder may show fewer
    height: int  # pixels, upright
    width: int
    fps: float  # 0 if the container does not say
    declared: int | None  # frames by the container; None if it does not say
    orientation: Orientation
    stream: int  # the number of the video's stream in the file
    streams: int  # how many streams show pictures, covers not counted
    transfer: str | None  # "PQ" or "HLG" for HDR
    pixel_aspect: Fraction  # a stored pixel's width over its height
    start: float  # of a player's clock, in seconds of the stream
    end: float | None  # of the stream by its container; None if it does not say
    last: float  # when the last packet is shown
    expected: int  # frames that reading to the end shows, unless some are lost
    stands_still: bool  # whether the last picture is shown until the end, as by empty chunks of an AVI
    size: int  # bytes of the stream's packets, or of a picture's file
    still: bool = False  # whether it is a picture, not a video (faces.stills)
    transparent: float = 0.0  # share of a picture's pixels that are partly transparent
    pictures: int = 1  # in a picture's file: an animation has several
    promised: float | None = None  # end of a Matroska's video by its tag, in seconds; None without it
    dolby_vision: int | None = None  # profile, if a player needs it for the colours

    @property
    def bits_per_pixel(self) -> float:
        """Bits of the file per pixel of a frame. Fewer bits mean stronger compression."""
        return 8 * self.size / (max(self.frames, 1) * self.height * self.width)

    @property
    def caveats(self) -> tuple[str, ...]:
        """How the frames differ from what a player shows, and so from what the networks were trained on."""
        caveats = []
        if not self.orientation.known:
            caveats.append("its display matrix is neither a turn nor a mirror image: frames are left as stored")
        if self.transfer:
            caveats.append(f"HDR ({self.transfer}), not tone-mapped")
        if self.dolby_vision is not None:
            caveats.append(f"Dolby Vision profile {self.dolby_vision}, whose colours are not converted")
        if self.pixel_aspect != 1:
            caveats.append(f"pixels {self.pixel_aspect.numerator}:{self.pixel_aspect.denominator}, not stretched")
        if self.transparent:
            share = "under 0.1%" if self.transparent < 0.001 else f"{self.transparent:.1%}"
            caveats.append(f"{share} of the picture is transparent: scored on white, as viewers show it")
        return tuple(caveats)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about how the file was read: the stream, the turn, and the caveats."""
        notes = []
        if self.streams > 1:
            notes.append(which_stream(self.stream, self.streams))
        if self.pictures > 1:
            notes.append(f"the first of {self.pictures} pictures in the file was examined")
        if str(self.orientation):
            notes.append(str(self.orientation))
        return (*notes, *self.caveats)


class Frame(NamedTuple):
    """A frame as a player shows it."""

    number: int  # counted from 0
    time: float | None  # seconds on a player's clock; None if the file has no timestamps
    image: np.ndarray  # upright BGR uint8 [height, width, 3]


def probe(path: Path) -> VideoInfo:
    """Look at a video without decoding all of it: at the container, all packets and the first frame.

    Raises UnsupportedError, DecodeError or FileNotFoundError. An encrypted file, or one that is cut off, is recognised
    here.
    """
    with open_video(path) as container:
        if is_encrypted(path):
            raise UnsupportedError(f"{path}: encrypted, its pictures cannot be decoded without a key")
        truncation = find_truncation(path)
        stream, streams, packets = choose_stream(path, container)
        index, declared = stream.index, declared_frames(path, stream)
        missing = max((declared or 0) - packets.stored, 0)
        stands_still = missing > 0 and count_avi_pictures(path, index) >= (declared or 0)
        if truncation and not stands_still and not is_complete(container, stream, packets, declared, truncation):
            raise DecodeError(str(truncation), _count_decodable(path, index))
    with open_video(path) as container:
        for frame in decode(path, container, index, lambda: None):
            lost = 0 if stands_still else missing
            info = info_of(container, index, frame, packets, declared, streams, lost, stands_still)
            return info._replace(dolby_vision=dolby_vision_profile(path))
    raise DecodeError(f"{path}: no frame can be decoded")


class Reading:
    """One pass over a video: iterate over it, once, for the frames whose number is `chosen`.

    `frames` counts the frames decoded so far, `damaged` the packets that could not be decoded, `concealed` the frames
    in which the decoder noticed damage and filled it in, as H.264's does inside a slice. `first` and `last` are the
    times at which the first and the last frame are shown, `end` is the time at which the last one disappears, all in
    seconds on a player's clock; None if the file has no timestamps. `gaps` are the stretches, from and to, of more than
    LATE seconds for which the file has no frame.

    Iterating raises DecodeError after the last frame if the stream ended early or if the decoder filled in damage in
    most frames, UnsupportedError if the size of the frames changes. Whatever was read before must then be discarded.
    """

    def __init__(self, path: Path, info: VideoInfo, chosen: Callable[[int], bool] = lambda number: True) -> None:
        self.path, self.info, self.chosen = path, info, chosen
        self.frames = self.damaged = self.concealed = 0
        self.first: float | None = None
        self.last: float | None = None
        self.end: float | None = None
        self.gaps: list[tuple[float, float]] = []
        self.clock = Clock()

    def __iter__(self) -> Iterator[Frame]:
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
                    duration = frame.duration * float(frame.time_base or 0) or length
                    if self.end is not None and time - self.end > LATE:
                        self.gaps.append((self.end, time))
                    self.first = time if self.first is None else self.first
                    self.last, self.end = max(self.last or 0.0, time), max(self.end or 0.0, time + duration)
                if self.chosen(number):
                    yield Frame(number, time, self.info.orientation.upright(pixels_of(frame)))
        self._check_the_end()

    def reread(self, numbers: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Read the frames with these numbers again: each with its number, BGR uint8 [H, W, 3]. Raises like `probe`."""
        return read_some(self.path, self.info, numbers)

    def _count_damage(self) -> None:
        self.damaged += 1

    def _check_the_end(self) -> None:
        """Raise DecodeError if frames are missing at the end."""
        if self.frames == 0:
            raise DecodeError(f"{self.path}: no frame can be decoded")
        if 2 * self.concealed > self.frames:
            raise DecodeError(f"{self.path}: {filled_in(self.concealed, self.frames)}", self.frames)
        expected, rate = self.info.expected, self.info.fps
        end = self.info.last + 1 / rate if rate and self.info.end is None else self.info.end
        if expected - self.frames > LOST_FRAMES and not reaches_end(self.last, end, rate, LOST_FRAMES + 1):
            raise DecodeError(f"{self.path}: decoding stopped after {self.frames} of {expected} frames", self.frames)
        if self.end is not None and (self.info.promised or 0) - self.end > LATE:
            stopped = f"decoding stopped after {self.end:.1f} of {self.info.promised:.1f} seconds"
            raise DecodeError(f"{self.path}: {stopped}", self.frames)

    @property
    def losses(self) -> list[str]:
        """What is missing in the file, in words, once it was read to its end; empty if nothing is."""
        return losses(self.damaged, self.concealed, self.frames, self.gaps)

    @property
    def duration(self) -> float:
        """The time at which the video ends, in seconds: what the container says, unless the frames disagree."""
        last, end, declared = self.last, self.end, self.info.end
        if last is None or end is None:
            return self.frames / self.info.fps if self.info.fps else 0.0
        near = self.info.stands_still or (declared or 0.0) - end <= LOST_FRAMES / (self.info.fps or 1.0)
        return declared if declared is not None and last < declared and near else end


def filled_in(concealed: int, frames: int) -> str:
    """In how many frames the decoder filled in damage."""
    return f"the decoder filled in damage in {concealed} of {frames} frames"


def losses(damaged: int, concealed: int, frames: int, gaps: Iterable[tuple[float, float]]) -> list[str]:
    """What is missing in a video that was read to its end. `frames` were decoded; gaps are seconds, from and to."""
    notes = []
    if damaged:
        notes.append(f"incomplete: {damaged} of {damaged + frames} packets could not be decoded")
    if concealed:
        notes.append(filled_in(concealed, frames))
    notes += [f"incomplete: no frames between {start:.1f} and {end:.1f} s" for start, end in gaps]
    return notes


class Clock:
    """The times of frames: their presentation times or, if these run backwards more often, their decoding times.

    H.264 in AVI has only decoding times, which ffmpeg attaches to the wrong frames. The last frames lack them and get
    the time of the frame before plus its duration.
    """

    def __init__(self) -> None:
        self.latest: dict[str, int] = {}
        self.backwards = {"pts": 0, "dts": 0}

    def stamp(self, frame: av.VideoFrame) -> float | None:
        """The time of the next frame, in seconds of the stream; None if it has no time."""
        before = dict(self.latest)
        for name in ("pts", "dts"):
            value = getattr(frame, name)
            if value is None and name in before:
                value = before[name] + (frame.duration or 1)
            if value is not None:
                self.backwards[name] += value <= before.get(name, value - 1)
                self.latest[name] = value
        best = min(self.latest, key=self.backwards.__getitem__, default=None)  # on a tie pts, the first
        return None if best is None or not frame.time_base else float(self.latest[best] * frame.time_base)


def read_frames(path: Path, interval: int = 1) -> Iterator[np.ndarray]:
    """Yield frames 0, interval, 2*interval, ... as upright BGR uint8 [height, width, 3].

    Raises as `probe` does before the first frame, later as `Reading` does.
    """
    for frame in Reading(path, probe(path), lambda number: number % interval == 0):
        yield frame.image


def read_some(path: Path, info: VideoInfo, numbers: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield number and pixels, upright BGR uint8 [height, width, 3], of the frames with these numbers, in order.

    Numbers count from 0. Raises as `Reading` does, up to the last frame that is asked for.
    """
    if not numbers:
        return
    last = max(numbers)
    for frame in Reading(path, info, lambda number: number in numbers):
        yield frame.number, frame.image
        if frame.number == last:
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


def pixels_of(frame: av.VideoFrame) -> np.ndarray:
    """A decoded frame, not yet turned upright, as BGR uint8 [height, width, 3]."""
    converted = frame.reformat(format="bgr24", threads=1)
    plane = converted.planes[0]
    return np.ndarray(
        (converted.height, converted.width, 3), np.uint8, memoryview(plane), strides=(plane.line_size, 3, 1)
    )


def info_of(
    container: av.container.InputContainer,
    index: int,
    frame: av.VideoFrame,
    packets: Packets,
    declared: int | None,
    streams: int,
    lost: int,
    stands_still: bool,
) -> VideoInfo:
    """The VideoInfo for what container, packets and first frame say; the packets lack `lost` frames."""
    stream = container.streams[index]
    assert isinstance(stream, av.VideoStream)
    orientation = orientation_of(frame)
    height, width = orientation.upright(np.empty((frame.height, frame.width, 1), np.uint8)).shape[:2]
    start = container.start_time / av.time_base if container.start_time is not None else (frame.time or 0.0)
    rate = rate_of(stream, packets)
    end = in_seconds((stream.start_time or 0) + stream.duration, stream) - start if stream.duration else None
    if declared and rate and container.format.name == "avi":  # ffmpeg shortens the duration of a cut file
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
        expected=packets.shown + lost,
        stands_still=stands_still,
        size=packets.size,
        promised=tagged_duration(stream),
    )


def _count_decodable(path: Path, index: int) -> int:
    """The number of frames of a stream that can be decoded."""
    try:
        with open_video(path) as container:
            return sum(1 for _ in decode(path, container, index, lambda: None))
    except DecodeError as error:
        return error.frames
