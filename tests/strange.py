"""Videos as they come in the wild, made with PyAV from a real clip's frames."""

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

FPS = 30


@contextmanager
def same_priority() -> Iterator[None]:
    """Give this thread its priority back: libsvtav1 makes whoever encodes with it as root a real-time process.

    Browsers inherit that from the tests that start them, and a page that is busy then stops the machine.
    """
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)


def encode(
    path: Path,
    frames: Sequence[np.ndarray],
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    times: Sequence[int] | None = None,
    movflags: str = "",
    sound_seconds: int = 0,
) -> Path:
    """Write BGR frames; `times` are in thirtieths of a second. `sound_seconds` of silence make a second stream."""
    with (
        same_priority(),
        av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container,
    ):
        stream = container.add_stream(codec, rate=FPS, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.time_base = Fraction(1, FPS)
        sound = container.add_stream("aac", rate=16000) if sound_seconds else None
        for number, frame in enumerate(frames):
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="bgr24").reformat(format=pixels)
            image.pts, image.time_base = (times or range(len(frames)))[number], Fraction(1, FPS)
            container.mux(stream.encode(image))
        container.mux(stream.encode())
        if sound:
            add_silence(container, sound, sound_seconds)
    return path


def add_silence(container: av.container.OutputContainer, stream: av.AudioStream, seconds: int) -> None:
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000 * seconds), np.float32), format="fltp", layout="mono")
    frame.rate = 16000
    container.mux(stream.encode(frame))
    container.mux(stream.encode())


def audio_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        add_silence(container, container.add_stream("aac", rate=16000), 1)


def corrupt_packet(path: Path, number: int) -> None:
    """Overwrite one packet's bytes."""
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][number]
        position, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[position + 4 : position + size] = np.random.RandomState(0).bytes(size - 4)
    path.write_bytes(data)


def change_size(path: Path, parts: Sequence[Sequence[np.ndarray]]) -> None:
    """One Matroska stream of JPEG pictures whose size changes midway."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=FPS)
        stream.height, stream.width = parts[0][0].shape[:2]
        stream.pix_fmt = "yuvj420p"
        number = 0
        for index, frames in enumerate(parts):
            part = encode(path.with_suffix(f".{index}.avi"), frames, codec="mjpeg", pixels="yuvj420p")
            with av.open(str(part)) as source:
                for packet in source.demux(video=0):
                    if packet.size:
                        packet.stream, packet.time_base = stream, Fraction(1, FPS)
                        packet.pts = packet.dts = number
                        container.mux(packet)
                        number += 1
            part.unlink()


def set_matrix(path: Path, a: float, b: float, c: float, d: float) -> None:
    """Write a display matrix into the track header (ISO/IEC 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    numbers = [round(value * (1 << 16)) for value in (a, b, 0, c, d, 0, 0, 0)]
    data[start : start + 36] = struct.pack(">9i", *numbers, 1 << 30)
    path.write_bytes(data)


def remux(source: Path, target: Path, later: float = 0.0, change: Callable[[int, bytes], bytes] | None = None) -> Path:
    """Copy a video's packets, `later` seconds (before 0: hidden by an edit list), their bytes changed."""
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(source)) as given, av.open(str(target), "w", options=options) as container:
        stream = container.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(packet for packet in given.demux(video=0) if packet.size):
            copy = av.Packet(change(number, bytes(packet)) if change else bytes(packet))
            ticks = round(later / packet.time_base)
            copy.pts, copy.dts, copy.time_base = packet.pts + ticks, packet.dts + ticks, packet.time_base
            copy.duration, copy.is_keyframe, copy.stream = packet.duration, packet.is_keyframe, stream
            container.mux(copy)
    return target


def pipe_avi(path: Path, frames: Sequence[np.ndarray]) -> Path:
    """An AVI written where its muxer cannot go back, as into a pipe: it leaves its sizes unknown."""

    class Pipe:
        written = bytearray()

        def write(self, data: bytes) -> int:
            self.written += data
            return len(data)

    pipe = Pipe()
    with av.open(pipe, "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=FPS)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(stream.encode())
    path.write_bytes(pipe.written)
    return path


def add_stream_before(film: Path, target: Path, pictures: Sequence[np.ndarray], default: bool) -> Path:
    """A Matroska file whose first stream holds pictures and whose second is the film's."""
    with av.open(str(film)) as given, av.open(str(target), "w") as container:
        first = container.add_stream("mjpeg", rate=1)
        first.height, first.width = pictures[0].shape[:2]
        first.pix_fmt = "yuvj420p"
        second = container.add_stream_from_template(given.streams.video[0])
        first.disposition = Disposition.default if default else Disposition(0)
        second.disposition = Disposition(0) if default else Disposition.default
        for frame in pictures:
            container.mux(first.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="bgr24")))
        container.mux(first.encode())
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = second
                container.mux(packet)
    return target


def invisible(number, data):
    """Of a VP8 stream without key frames after the first: two of three frames are only referred to (RFC 6386, 9.1)."""
    return data if number % 3 == 0 else bytes([data[0] & 0b11101111]) + data[1:]
