"""Videos as they come in the wild, made with PyAV from a real clip's frames."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FPS = 30


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
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
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


def rotate_by_metadata(path: Path) -> None:
    """Write a quarter turn into the matrix of the track header (ISO/IEC 14496-12, 8.3.2)."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


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
