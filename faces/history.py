"""What a file's stream and pixels show about how it came to be: compression, key frames, repeats, bars, still parts.

Nothing here is part of a score. Each finding is a measurement with thresholds whose error rates `benchmarks.history`
measures on made files (docs/use/file_history.md). It says what the stream shows, not who did what to it.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import av
import numpy as np
from av.sidedata.sidedata import SideData

from faces.file_facts import clean
from faces.file_signs import size_of, tags_of
from faces.frame_history import Bars, Look
from faces.jpeg_history import JpegHistory, jpeg_history
from faces.periods import earlier_key_frames, repeat_period
from faces.streams import decode, open_video, read_packets
from faces.video import VideoInfo

EXAMINED = 150  # frames at most, the first of the video; benchmarks.history measures with as many
LEAST_FRAMES = 60  # for findings that need time
H264 = 1  # in AVVideoEncParamsType
EXPORTED = {"export_side_data": "venc_params"}  # ffmpeg's decoder of H.264 then tells the quantisers
NOTE = re.compile(r"(x26[45]) (?:- core|\(build) (\d+)")  # how an encoder's note begins, after its UUID of 16 bytes
SETTINGS = re.compile(r"\b(rc|crf|bitrate|qp|keyint|bframes)=([\w.]+)")  # how strongly, and in what pattern
UNEVEN = 0.5  # of the usual time between frames: a larger deviation counts


@dataclass(frozen=True)
class KeyFrames:
    """Where a video can be entered: how many key frames its stream has, and their distances in frames."""

    count: int
    usual: int | None  # distance, the median; None for fewer than three
    longest: int | None
    regular: bool  # all distances are the same


@dataclass(frozen=True)
class History:
    """What a stream shows about how it was made. None stands for not measurable, or for no finding."""

    frames: int  # examined, the first ones
    tags: list[str]  # that are known to come from a platform, a recorder or ffmpeg, and who writes them
    size: str | None  # "screen" or "unusual" if cameras do not record it
    bits_per_pixel: float  # per frame
    bits_per_second: float | None
    quantiser: float | None  # H.264's mean, 0 (lossless) to 51; None for other codecs
    encoder: str | None  # what the encoder wrote into the stream about itself
    encoder_starts: list[int]  # examined frames at which it did so: more than one if encodings were joined
    key_frames: KeyFrames | None
    uneven: float | None  # share of frames whose time on the screen is not the usual one
    repeats_every: int | None  # one frame in this many repeats the one before it
    earlier_key_frames: int | None  # distance of key frames of an earlier compression; H.264 only
    bars: Bars | None
    still_share: float | None  # share of the picture that has sharp detail and never changes
    jpeg: JpegHistory | None


class Picture(NamedTuple):
    """What is kept of a decoded frame."""

    kind: int  # 1 I, 2 P, 3 B, as ffmpeg counts
    key: bool
    pts: int | None
    quantiser: float | None
    note: str | None  # an encoder's about itself


def file_history(path: Path, info: VideoInfo) -> History:
    """What a video or picture shows about how it was made. Raises DecodeError as `faces.streams` does."""
    rate = info.bits_per_pixel * info.width * info.height * info.fps
    if info.still:
        return still_history(path, info)
    codec, sizes, keys = packet_sizes(path, info.stream)
    look = Look(info)
    pictures = [picture_of(frame, look) for frame in examined_frames(path, info.stream)]
    kinds = np.array([picture.kind for picture in pictures])
    own = [number for number, picture in enumerate(pictures) if picture.key]
    known = np.array([sizes.get(picture.pts, 0) for picture in pictures], float)
    quantisers = [picture.quantiser for picture in pictures if picture.quantiser is not None]
    notes = {number: picture.note for number, picture in enumerate(pictures) if picture.note}
    moving = len(pictures) >= LEAST_FRAMES
    tested = moving and codec == "h264"  # others, as VP9, let the sizes of predicted frames rise regularly themselves
    return History(
        frames=len(pictures),
        tags=tags_of(path),
        size=size_of(info),
        bits_per_pixel=round(info.bits_per_pixel, 4),
        bits_per_second=round(rate) if rate else None,
        quantiser=round(float(np.mean(quantisers)), 1) if quantisers else None,
        encoder=next(iter(notes.values()), None),
        encoder_starts=list(notes),
        key_frames=describe_key_frames(keys),
        uneven=uneven_share([picture.pts for picture in pictures]),
        repeats_every=repeat_period(np.array(look.changes)) if moving else None,
        earlier_key_frames=earlier_key_frames(known, kinds, own) if tested and known.all() else None,
        bars=look.bars(),
        still_share=look.still_share() if moving else None,
        jpeg=None,
    )


def still_history(path: Path, info: VideoInfo) -> History:
    """What a picture shows about how it was made."""
    return History(
        frames=1,
        tags=[],
        size=None,
        bits_per_pixel=round(info.bits_per_pixel, 4),
        bits_per_second=None,
        quantiser=None,
        encoder=None,
        encoder_starts=[],
        key_frames=None,
        uneven=None,
        repeats_every=None,
        earlier_key_frames=None,
        bars=None,
        still_share=None,
        jpeg=jpeg_history(path),
    )


def packet_sizes(path: Path, index: int) -> tuple[str, dict[int | None, int], list[int]]:
    """A stream's codec, the bytes of each packet by its presentation time, and the numbers of the key frames."""
    codec, sizes = "", dict[int | None, int]()
    keys: list[int | None] = []
    with open_video(path) as container, suppress(av.error.FFmpegError):  # decoding meets it too
        stream = cast(av.VideoStream, container.streams[index])
        codec = stream.codec_context.name
        for packet in read_packets(container, [stream]):
            if packet.size:
                sizes[packet.pts] = packet.size
                keys += [packet.pts] * packet.is_keyframe
    order = {pts: number for number, pts in enumerate(sorted(pts for pts in sizes if pts is not None))}
    return codec, sizes, [order[pts] for pts in keys if pts in order]


def examined_frames(path: Path, index: int) -> Iterator[av.VideoFrame]:
    """The first frames of a stream, with what ffmpeg exports about their encoding."""
    with open_video(path) as container:
        container.streams[index].codec_context.options = EXPORTED
        for number, frame in enumerate(decode(path, container, index, lambda: None)):
            if number == EXAMINED:
                return
            yield frame


def picture_of(frame: av.VideoFrame, look: Look) -> Picture:
    """What is kept of a decoded frame, which `look` measures."""
    look.at(frame)
    return Picture(int(frame.pict_type), bool(frame.key_frame), frame.pts, quantiser_of(frame), note_of(frame))


def describe_key_frames(keys: list[int]) -> KeyFrames | None:
    """The distances of key frames with these numbers; None if the stream marks none."""
    gaps = np.diff(keys)
    if not keys:
        return None
    usual = int(np.median(gaps)) if len(gaps) >= 2 else None
    return KeyFrames(len(keys), usual, int(gaps.max()) if len(gaps) else None, len(gaps) >= 2 and len(set(gaps)) == 1)


def uneven_share(times: list[int | None]) -> float | None:
    """The share of frames that are shown for an unusual time; None if times are missing or too few."""
    known = [time for time in times if time is not None]
    if len(known) < len(times) or len(times) < LEAST_FRAMES:
        return None
    gaps = np.diff(known)
    usual = float(np.median(gaps))
    return round(float((np.abs(gaps - usual) > UNEVEN * usual).mean()), 3)


def quantiser_of(frame: av.VideoFrame) -> float | None:
    """The mean quantiser of a frame's blocks (AVVideoEncParams of libavutil); None for all but H.264 of 8 bits."""
    data = frame.side_data.get("VIDEO_ENC_PARAMS")
    if data is None:
        return None
    content = bytes(cast(SideData, data))
    blocks, offset, size, codec, base = struct.unpack_from("=I4xQQii", content)
    if codec != H264 or frame.format.components[0].bits != 8:
        return None
    if not blocks:
        return float(base)
    entries = np.frombuffer(content, np.int32, blocks * size // 4, offset).reshape(blocks, size // 4)
    return base + float(entries[:, 4].mean())  # x, y, width, height, difference


def note_of(frame: av.VideoFrame) -> str | None:
    """What x264 or x265 wrote about itself into a frame, such as `x264 core 164, rc crf, crf 23.0, keyint 250`."""
    data = frame.side_data.get("SEI_UNREGISTERED")
    text = bytes(cast(SideData, data))[16:4096].decode("latin-1") if data is not None else ""
    if not (start := NOTE.match(text)):
        return None
    settings = (f"{name} {value}" for name, value in dict(SETTINGS.findall(text)).items())
    return clean(", ".join([f"{start[1]} core {start[2]}", *settings]))
