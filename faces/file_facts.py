"""What a container says of its making: facts that an examiner asks for, never part of a score.

They are what the file says. Whoever writes a file can write anything there.
"""

import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av

from faces.containers import Box, top_level_boxes
from faces.streams import open_video

MOST_BOXES = 10_000  # of a level that are looked at: a file may hold any number
LONGEST = 200  # characters of a value
QUICKTIME = tuple(f"com.apple.quicktime.{name}" for name in ("make", "model", "software", "creationdate"))
WANTED = ("encoder", "creation_time", "major_brand", "compatible_brands", "comment", "software", *QUICKTIME)


class Fact(NamedTuple):
    """A fact: what it is, and what the file says."""

    name: str
    value: str


def file_facts(path: Path, scored: int) -> list[Fact]:
    """The container's facts, then those of each stream; `scored` is the number of the stream that is looked at.

    Raises DecodeError or UnsupportedError as `faces.streams.open_video` does.
    """
    with open_video(path) as container:
        found = [Fact("container", container.format.long_name or container.format.name)]
        found += [Fact(name, clean(value)) for name, value in container.metadata.items() if name in WANTED]
        for stream in container.streams:
            found.append(Fact(f"stream {stream.index}", clean(stream_in_words(stream, scored))))
    return [*found, *edit_facts(path)]


def stream_in_words(stream: "av.stream.Stream", scored: int) -> str:
    """A stream in a line."""
    context = stream.codec_context
    said = [stream.type or "data", (context.name if context else None) or "unknown codec"]
    if isinstance(stream, av.VideoStream) and context:
        said.append(f"{stream.width}x{stream.height}")
    said += [f"{name} {stream.metadata[name]}" for name in ("encoder", "handler_name", "creation_time", "language")
             if stream.metadata.get(name)]  # fmt: skip
    return ", ".join([*said, "scored" if stream.index == scored else "not scored"])


def clean(value: str) -> str:
    """A value for people: printable, not too long."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in value)[:LONGEST]


def edit_facts(path: Path) -> list[Fact]:
    """The edit lists of an MP4 or QuickTime file that do not just begin with the media; none for other files."""
    size = path.stat().st_size
    with path.open("rb") as file:
        boxes = [box for box in top_level_boxes(file, size) if box.kind == b"moov" and box.end <= size]
        for kind in (b"trak", b"edts", b"elst"):
            inside = (inner for box in boxes for inner in nested(file, box))
            boxes = [inner for inner in islice(inside, MOST_BOXES) if inner.kind == kind]
        lists = [edits_of(file, box) for box in boxes]
    return [
        Fact(f"edit list {number}", f"edits: {len(edits)}, the first from {edits[0]} in the media's time units")
        for number, edits in enumerate(lists, start=1)
        if edits and (len(edits) > 1 or edits[0] != 0)
    ]


def nested(file: BinaryIO, outer: Box) -> Iterator[Box]:
    """The boxes in a box; those with a size that does not fit end the list."""
    position = outer.start
    while position + 8 <= outer.end:
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length < 8 or position + length > outer.end:
            return
        yield Box(kind, position + 8, position + length)
        position += length


def edits_of(file: BinaryIO, box: Box) -> list[int]:
    """Where the edits of a list begin in the media, -1 for an empty one (ISO/IEC 14496-12, 8.6.6)."""
    file.seek(box.start)
    content = file.read(min(box.end - box.start, 1 << 16))
    if len(content) < 8:
        return []
    form = ">QqI" if content[0] == 1 else ">IiI"
    length = struct.calcsize(form)
    return [struct.unpack_from(form, content, at)[1] for at in range(8, len(content) - length + 1, length)]
