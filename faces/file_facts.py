"""What a container says about how it was made: facts that an examiner asks for, never part of a score.

These are claims of the file. Whoever writes a file can write anything there.
"""

import struct
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av

from faces.containers import Chunk, top_level_chunks
from faces.streams import open_video

MOST_CHUNKS = 10_000  # read per level: a file may hold any number
LONGEST = 200  # characters of a value
QUICKTIME = tuple(f"com.apple.quicktime.{name}" for name in ("make", "model", "software", "creationdate"))
WANTED = ("encoder", "creation_time", "major_brand", "compatible_brands", "comment", "software", *QUICKTIME)


class Fact(NamedTuple):
    """A fact: what it is, and what the file says."""

    name: str
    value: str


def file_facts(path: Path, scored: int) -> list[Fact]:
    """The container's facts, then those of each stream. `scored` is the number of the stream that is scored.

    Raises DecodeError or UnsupportedError as `faces.streams.open_video` does.
    """
    with open_video(path) as container:
        facts = [Fact("container", container.format.long_name or container.format.name)]
        facts += [Fact(name, clean(value)) for name, value in container.metadata.items() if name in WANTED]
        for stream in container.streams:
            facts.append(Fact(f"stream {stream.index}", clean(describe_stream(stream, scored))))
    return [*facts, *edit_facts(path)]


def describe_stream(stream: "av.stream.Stream", scored: int) -> str:
    """A line about a stream: type, codec, size, metadata, and whether it is scored."""
    context = stream.codec_context
    words = [stream.type or "data", (context.name if context else None) or "unknown codec"]
    if isinstance(stream, av.VideoStream) and context:
        words.append(f"{stream.width}x{stream.height}")
    words += [f"{name} {stream.metadata[name]}" for name in ("encoder", "handler_name", "creation_time", "language")
             if stream.metadata.get(name)]  # fmt: skip
    return ", ".join([*words, "scored" if stream.index == scored else "not scored"])


def clean(value: str) -> str:
    """A value made printable and cut to LONGEST characters."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in value)[:LONGEST]


def edit_facts(path: Path) -> list[Fact]:
    """Facts about the edit lists of an MP4 or QuickTime file, except those that only begin with the media."""
    size = path.stat().st_size
    with path.open("rb") as file:
        chunks = [chunk for chunk in top_level_chunks(file, size) if chunk.kind == b"moov" and chunk.end <= size]
        for kind in (b"trak", b"edts", b"elst"):
            inside = (inner for chunk in chunks for inner in inner_chunks(file, chunk))
            chunks = [inner for inner in islice(inside, MOST_CHUNKS) if inner.kind == kind]
        lists = [edit_starts(file, chunk) for chunk in chunks]
    return [
        Fact(f"edit list {number}", f"edits: {len(starts)}, the first from {starts[0]} in the media's time units")
        for number, starts in enumerate(lists, start=1)
        if starts and (len(starts) > 1 or starts[0] != 0)
    ]


def inner_chunks(file: BinaryIO, outer: Chunk) -> Iterator[Chunk]:
    """Yield the boxes inside a box, up to the first whose size does not fit."""
    position = outer.start
    while position + 8 <= outer.end:
        file.seek(position)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length < 8 or position + length > outer.end:
            return
        yield Chunk(kind, position + 8, position + length)
        position += length


def edit_starts(file: BinaryIO, edit_list: Chunk) -> list[int]:
    """Where each edit of a list begins in the media; -1 for an empty edit (ISO/IEC 14496-12, 8.6.6)."""
    file.seek(edit_list.start)
    content = file.read(min(edit_list.end - edit_list.start, 1 << 16))
    if len(content) < 8:
        return []
    entry = ">QqI" if content[0] == 1 else ">IiI"
    length = struct.calcsize(entry)
    offsets = range(8, len(content) - length + 1, length)
    return [struct.unpack_from(entry, content, offset)[1] for offset in offsets]
