"""Reach a few frames of a video by its key frames, without decoding what lies between them.

A container's index says where the key frames are. A decoder that starts at one shows the frames from there on exactly
as one that started at the beginning, unless the file lies about it. So every frame is checked: it must be the next one
that the packets promise, and the decoder must not have filled in damage. Otherwise `ReadOnError` says why the video has
to be read from its beginning.
"""

from bisect import insort
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import av
from av.stream import Disposition

from faces.containers import dolby_vision_profile, find_truncation, is_encrypted, is_fragmented
from faces.streams import Packets, UnsupportedError, declared_frames, open_video
from faces.video import Frame, VideoInfo, info_of, pixels_of, probe

# Decoders that can leave out frames to which no other refers, and then show the others as before.
SKIPPING = ("h264", "hevc", "mpeg2video", "mpeg4")
MISSING = "frames behind a key frame are missing or damaged"


class ReadOnError(Exception):
    """Why a video has to be read from its beginning, in words."""


class Key(NamedTuple):
    """A key frame: where it is in the file's index, and about when it is shown, in seconds from the first one."""

    stamp: int  # decoding time, in units of the stream
    time: float


class Behind(Iterator[Frame]):
    """The frames from a key frame on, in the order and at the times at which a player shows them.

    Raises ReadOnError if a frame is missing, damaged, or without a time, UnsupportedError for another size.
    """

    def __init__(self, reader: "KeyFrames", key: Key) -> None:
        self.reader, self.stream = reader, reader.stream
        try:
            reader.container.seek(key.stamp + reader.shift, stream=self.stream, backward=True)
        except av.error.FFmpegError as error:
            raise ReadOnError("its index does not lead to its key frames") from error
        self.stream.codec_context.skip_frame = "DEFAULT"
        self.packets = reader.container.demux(self.stream)
        self.promised: list[int] = []  # times of the packets whose frames are still to come, ascending
        self.ready: list[av.VideoFrame] = []
        self.least = self._begin(key)  # earlier frames belong to the group of pictures before

    def __next__(self) -> Frame:
        while True:
            frame = self._decoded()
            if frame is None:
                if any(stamp >= self.least for stamp in self.promised):
                    raise ReadOnError(MISSING)
                raise StopIteration
            if frame.pts is not None and frame.pts < self.least:
                continue
            return self._checked(frame)

    def skip(self, frames: int, decoded: int) -> None:
        """Go on to a frame about `frames` later, for which at most `decoded` are decoded; both at least 0.

        Where the codec allows it, frames to which no other refers are left out.
        """
        if not frames or not decoded:
            return
        if self.stream.codec_context.name in SKIPPING:
            self.stream.codec_context.skip_frame = "NONREF"
        before = self.reader.decoded
        while self._passed() < frames and self.reader.decoded - before + len(self.ready) < decoded:
            self.reader.decoded += len(self.ready)
            self.ready.clear()
            if self._feed() is None:
                break
        self.stream.codec_context.skip_frame = "DEFAULT"
        # What was fed may lack frames that were left out; those with later times will all be there.
        self.least = max(self.promised, default=self.least) + 1

    def _passed(self) -> int:
        """How many frames were fed that are shown later than the last one that was yielded."""
        return sum(stamp >= self.least for stamp in self.promised)

    def _begin(self, key: Key) -> int:
        """Decode the key frame; return when it is shown, in units of the stream."""
        for packet in self.packets:
            if packet.size and packet.dts is not None and packet.dts >= key.stamp:
                if packet.dts > key.stamp or not packet.is_keyframe or packet.pts is None:
                    break
                self._decode(packet)
                return packet.pts
        raise ReadOnError("its index does not lead to its key frames")

    def _decode(self, packet: "av.Packet[av.VideoStream]") -> None:
        """Decode a packet, and note the frame that it promises."""
        try:
            self.ready += packet.decode()
        except av.error.FFmpegError as error:
            raise ReadOnError(MISSING) from error
        if not packet.size or packet.is_discard:
            return
        if packet.pts is None:
            raise ReadOnError("its packets have no times")
        insort(self.promised, packet.pts)

    def _feed(self) -> "av.Packet[av.VideoStream] | None":
        """Decode the next packet, and return it; None at the end."""
        for packet in self.packets:
            self._decode(packet)
            return packet if packet.size else None
        return None

    def _decoded(self) -> av.VideoFrame | None:
        """The next frame of the decoder; None at the end."""
        while not self.ready:
            if self._feed() is None and not self.ready:
                return None
        self.reader.decoded += 1
        return self.ready.pop(0)

    def _checked(self, frame: av.VideoFrame) -> Frame:
        """A frame as it is shown, if it is the next one that is promised."""
        while self.promised and self.promised[0] < self.least:
            self.promised.pop(0)
        if frame.is_corrupt or frame.pts is None or not self.promised or self.promised.pop(0) != frame.pts:
            raise ReadOnError(MISSING)
        self.least = frame.pts + 1
        return self.reader.shown(frame)


class KeyFrames:
    """The key frames of a video whose index lists them all. Make one by `open_key_frames`.

    `decoded` counts the frames that were decoded.
    """

    def __init__(self, path: Path, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        self.path, self.container, self.stream = path, container, stream
        self.decoded = 0
        self.stream.codec_context.thread_count = 1
        entries = [entry for entry in stream.index_entries if entry.size]
        self.stored = len(entries)
        keys = [entry.timestamp for entry in entries if entry.is_keyframe]
        if not keys:
            raise ReadOnError("its index lists no key frames")
        unit = float(stream.time_base or 0)
        last = max(entry.timestamp for entry in entries)
        self.shift = max((stream.start_time or 0) - keys[0], 0)  # from decoding to showing; ffmpeg seeks by such times
        self.packets = Packets(
            stored=len(entries),
            shown=sum(not entry.is_discard for entry in entries),
            last=last + self.shift,
            size=sum(entry.size for entry in entries),
        )
        self.keys = [Key(stamp, (stamp - keys[0]) * unit) for stamp in keys]
        self.length = (last - keys[0]) * unit  # seconds from the first key frame to the last packet
        self.info, self.size = self._look_at_first()

    def behind(self, key: Key) -> Behind:
        """The frames from a key frame on."""
        return Behind(self, key)

    def frames_behind(self, number: int) -> int:
        """About how many frames there are from a key frame, by its number, to the next one or to the end."""
        edges = [*(key.time for key in self.keys), self.length]
        return round((edges[number + 1] - edges[number]) / max(self.length, 1e-6) * self.packets.shown)

    @property
    def first(self) -> float:
        """When the first frame is shown, in seconds of a player's clock."""
        start = float((self.stream.start_time or 0) * (self.stream.time_base or 0))
        return round(start - self.info.start, 6) + 0.0

    def _look_at_first(self) -> tuple[VideoInfo, tuple[int, int]]:
        """What is known of the video, and the stored size of its first frame.

        A decoder may need the first packet: x264 writes there which of its versions made the stream.
        """
        frames: list[av.VideoFrame] = []
        try:
            for packet in self.container.demux(self.stream):
                frames += packet.decode()
                if not packet.is_discard:  # those that an edit list hides come before the first frame that is shown
                    break
            frames += self.stream.codec_context.decode(None)
        except av.error.FFmpegError as error:
            raise ReadOnError("its first packets are damaged") from error
        if not frames:
            raise ReadOnError("its first packets give no frame")
        self.decoded += 1
        frame, declared = frames[0], declared_frames(self.path, self.stream)
        info = info_of(self.container, self.stream.index, frame, self.packets, declared, 1, 0, False)
        info = info._replace(dolby_vision=dolby_vision_profile(self.path))
        return info, (frame.width, frame.height)

    def shown(self, frame: av.VideoFrame) -> Frame:
        """A decoded frame as a player shows it. Its number is not known, and stands at 0."""
        if (frame.width, frame.height) != self.size:
            was, now = ("x".join(map(str, size)) for size in (self.size, (frame.width, frame.height)))
            raise UnsupportedError(f"{self.path}: the size changes from {was} to {now}")
        seconds = float((frame.pts or 0) * (frame.time_base or 0))
        return Frame(0, round(seconds - self.info.start, 6) + 0.0, self.info.orientation.upright(pixels_of(frame)))


@contextmanager
def open_key_frames(path: Path) -> Iterator[KeyFrames]:
    """Open a video to reach its frames by its key frames.

    Raises ReadOnError if that cannot be done, and as `faces.video.probe` does for a file that is not a whole video.
    """
    with open_video(path) as container:
        if is_encrypted(path) or find_truncation(path) is not None:
            probe(path)  # raises what is wrong with it, unless all its frames are there nevertheless
            raise ReadOnError("its boxes end behind the end of the file")
        if not container.format.name.startswith("mov"):
            raise ReadOnError(f"a {container.format.name.partition(',')[0]} file has no complete index")
        streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
        if len(streams) != 1 or streams[0].codec_context is None:
            raise ReadOnError(f"it has {len(streams)} video streams")
        if is_fragmented(path) or not streams[0].index_entries:
            raise ReadOnError("its index is in fragments")
        reader = KeyFrames(path, container, streams[0])
        if declared_frames(path, streams[0]) != reader.stored:
            raise ReadOnError("its index lists another number of frames than its header")
        yield reader
