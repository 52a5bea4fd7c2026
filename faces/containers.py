"""What a video file's structure tells without decoding: its container, whether it is cut off or fragmented."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

EBML, SEGMENT, CLUSTER = (bytes.fromhex(name) for name in ("1a45dfa3", "18538067", "1f43b675"))
FIRST_KINDS = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"uuid")
MEDIA_KINDS = (b"moov", b"mdat", b"moof")
# Sizes in an AVI whose writer could not go back and fill them in, as in a pipe: no bit or every bit is set.
UNKNOWN_SIZES = (0, 0xFFFFFFFF)


class Chunk(NamedTuple):
    """A piece of a file: a box of MP4 or QuickTime (ISO/IEC 14496-12), a chunk of RIFF, or an element of Matroska.

    `start` and `end` are the bytes where its content begins and ends.
    """

    kind: bytes
    start: int
    end: int


def is_container(path: Path) -> bool:
    """Whether the file begins like MP4, QuickTime, AVI or Matroska."""
    with path.open("rb") as file:
        head = file.read(12)
    return head[4:8] in FIRST_KINDS or head[:4] == EBML or is_avi(head)


def is_avi(head: bytes) -> bool:
    """Whether a file that begins with these 12 bytes is an AVI. WAV and WebP are RIFF files too."""
    return head[:4] == b"RIFF" and head[8:12] == b"AVI "


class Truncation(NamedTuple):
    """A piece of a file that holds pictures and extends past the end of the file, which may therefore be cut off."""

    path: Path
    kind: bytes
    end: int
    size: int  # of the file

    def __str__(self) -> str:
        names = {b"movi": "'movi' list", CLUSTER: "cluster", SEGMENT: "segment"}
        what = names.get(self.kind, f"{self.kind.decode('latin-1')!r} box")
        return f"{self.path}: cut off, its {what} ends at byte {self.end} of {self.size}"


def find_truncation(path: Path) -> Truncation | None:
    """The first piece with pictures that extends past the end of the file; None if there is none.

    Other wrong sizes, and what follows the last piece, do not matter.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if is_avi(head):
            parts = list(_movi_lists(file, size))
        elif head[:4] == EBML:
            parts = _matroska_end(file, size)
        else:
            parts = [chunk for chunk in top_level_chunks(file, size) if chunk.kind in MEDIA_KINDS]
    return next((Truncation(path, part.kind, part.end, size) for part in parts if part.end > size), None)


def is_fragmented(path: Path) -> bool:
    """Whether the file is a fragmented MP4, whose header may declare only the frames of the first fragment."""
    size = path.stat().st_size
    with path.open("rb") as file:
        chunks = list(top_level_chunks(file, size))
        header = next((chunk for chunk in chunks if chunk.kind == b"moov"), None)
        if header is None or all(chunk.kind != b"moof" for chunk in chunks):
            return False
        file.seek(header.start)
        return b"mvex" in file.read(min(header.end, size) - header.start)


def count_avi_pictures(path: Path, stream: int) -> int:
    """The number of chunks that an AVI has for a video stream; 0 for other files.

    An empty chunk repeats the picture before it.
    """
    kinds = {b"%02ddc" % stream, b"%02ddb" % stream}
    size = path.stat().st_size
    with path.open("rb") as file:
        if not is_avi(file.read(12)):
            return 0
        return sum(
            chunk.kind in kinds and chunk.end <= size
            for movi in _movi_lists(file, size)
            for chunk in _chunks(file, movi.start, min(movi.end, size))
        )


def top_level_chunks(file: BinaryIO, size: int) -> Iterator[Chunk]:
    """Yield the top-level boxes of an MP4 or QuickTime file, none for other files. The last may end past the file."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        header = file.read(16)
        length, start = int.from_bytes(header[:4], "big"), position + 8
        if length == 1:
            length, start = int.from_bytes(header[8:16], "big"), position + 16
        if length < 8:  # 0: to the end of the file; 2-7: not a box, left to the decoder
            return
        if position == 0 and header[4:8] not in FIRST_KINDS:
            return
        position += length
        yield Chunk(header[4:8], start, position)


def _chunks(file: BinaryIO, position: int, end: int) -> Iterator[Chunk]:
    """Yield the chunks of a RIFF file between two bytes; for a `rec ` list, the chunks in it.

    The kind of any other list is the kind that it names, not LIST.
    """
    while position + 8 <= end:
        file.seek(position)
        header = file.read(12)
        if header[:4] == bytes(4):  # nothing was written here
            return
        length = int.from_bytes(header[4:8], "little")
        is_list = header[:4] in (b"LIST", b"RIFF")
        start, end_of_chunk = position + (12 if is_list else 8), position + 8 + length
        if is_list and header[8:12] == b"rec ":
            position = start
            continue
        yield Chunk(header[8:12] if is_list else header[:4], start, end_of_chunk)
        position = end_of_chunk + length % 2


def _movi_lists(file: BinaryIO, size: int) -> Iterator[Chunk]:
    """Yield the lists that hold an AVI's pictures. A list of unknown size ends with the file.

    A large file has several RIFF chunks. The declared size of the first is ignored: it is often a little wrong.
    """
    position = 0
    while position + 12 <= size:
        end = position
        for chunk in _chunks(file, position + 12, size):
            if chunk.kind in (b"AVIX", b"AVI "):
                break
            end = chunk.end + chunk.end % 2
            if chunk.kind == b"movi":
                unknown = chunk.end - chunk.start + 4 in UNKNOWN_SIZES
                yield chunk._replace(end=size) if unknown else chunk
                if unknown:
                    return
        if end == position:
            return
        position = end


def _matroska_end(file: BinaryIO, size: int) -> list[Chunk]:
    """What extends past the end of a Matroska file (RFC 8794, RFC 9559): a cluster, or the segment of clusters."""
    header = _element(file, 0)
    segment = _element(file, header.end) if header else None
    if segment is None or segment.kind != SEGMENT or segment.end <= size:
        return []
    position, clusters, last = segment.start, 0, segment
    while position < size and (element := _element(file, position)):
        clusters += element.kind == CLUSTER
        position, last = element.end, element
    if position > size and last.kind == CLUSTER:
        return [last]
    return [] if position > size and clusters else [segment]  # an index or tags hold no pictures


def _element(file: BinaryIO, position: int) -> Chunk | None:
    """The Matroska element at a byte; None if there is none, or if its size is unknown, as in live recordings."""
    file.seek(position)
    head = file.read(12)
    width = 9 - head[0].bit_length() if head and head[0] else 9
    if width > 4 or width >= len(head) or not head[width]:
        return None
    digits = 9 - head[width].bit_length()
    value = int.from_bytes(head[width : width + digits], "big") & ((1 << 7 * digits) - 1)
    start = position + width + digits
    return None if value == (1 << 7 * digits) - 1 else Chunk(head[:width], start, start + value)
