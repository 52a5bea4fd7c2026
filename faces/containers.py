"""What a video file's structure tells without decoding: its container, whether it lacks media, or is in fragments."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

EBML, SEGMENT, CLUSTER = (bytes.fromhex(name) for name in ("1a45dfa3", "18538067", "1f43b675"))
FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"uuid")
MEDIA_BOXES = (b"moov", b"mdat", b"moof")
# Sizes that writers leave in an AVI that they could not finish, as in a pipe: all bits, or none.
UNKNOWN_SIZES = (0, 0xFFFFFFFF)


class Box(NamedTuple):
    """A top-level box of an MP4 or QuickTime file (ISO/IEC 14496-12), a chunk of a RIFF file, or a Matroska element.

    `start` and `end` are the bytes where its content begins and ends.
    """

    kind: bytes
    start: int
    end: int


def is_container(path: Path) -> bool:
    """Whether the file begins as MP4, QuickTime, AVI or Matroska do."""
    with path.open("rb") as file:
        head = file.read(12)
    return head[4:8] in FIRST_BOXES or head[:4] == EBML or is_avi(head)


def is_avi(head: bytes) -> bool:
    """Whether a file that begins with these 12 bytes is an AVI; WAV and WebP are RIFF files too."""
    return head[:4] == b"RIFF" and head[8:12] == b"AVI "


class Lack(NamedTuple):
    """Something in a file that holds pictures and goes on past its end, so that the file may be cut off."""

    path: Path
    kind: bytes
    end: int
    size: int  # of the file

    def __str__(self) -> str:
        names = {b"movi": "'movi' list", CLUSTER: "cluster", SEGMENT: "segment"}
        what = names.get(self.kind, f"{self.kind.decode('latin-1')!r} box")
        return f"{self.path}: cut off, its {what} ends at byte {self.end} of {self.size}"


def lacks_media(path: Path) -> Lack | None:
    """What of a file's pictures lies past its end; None if nothing does.

    Whatever else is wrong with its sizes, or follows the last box, is of no interest.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if is_avi(head):
            parts = list(_movi_lists(file, size))
        elif head[:4] == EBML:
            parts = _matroska_end(file, size)
        else:
            parts = [box for box in top_level_boxes(file, size) if box.kind in MEDIA_BOXES]
    return next((Lack(path, part.kind, part.end, size) for part in parts if part.end > size), None)


def in_fragments(path: Path) -> bool:
    """Whether the file is an MP4 in fragments: its header may declare only the frames of the first one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        boxes = list(top_level_boxes(file, size))
        header = next((box for box in boxes if box.kind == b"moov"), None)
        if header is None or all(box.kind != b"moof" for box in boxes):
            return False
        file.seek(header.start)
        return b"mvex" in file.read(min(header.end, size) - header.start)


def avi_pictures(path: Path, stream: int) -> int:
    """How many chunks an AVI has for a video stream, 0 for other files; an empty one repeats the picture before it."""
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


def top_level_boxes(file: BinaryIO, size: int) -> Iterator[Box]:
    """Yield the top-level boxes of an MP4 or QuickTime file, nothing for others; the last may end past the file."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        header = file.read(16)
        length, start = int.from_bytes(header[:4], "big"), position + 8
        if length == 1:
            length, start = int.from_bytes(header[8:16], "big"), position + 16
        if length < 8:  # 0: to the end of the file; 2-7: not a box, left to the decoder
            return
        if position == 0 and header[4:8] not in FIRST_BOXES:
            return
        position += length
        yield Box(header[4:8], start, position)


def _chunks(file: BinaryIO, position: int, end: int) -> Iterator[Box]:
    """Yield the chunks of a RIFF file between two bytes; of a LIST, its kind and the chunks in `rec ` lists."""
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
        yield Box(header[8:12] if is_list else header[:4], start, end_of_chunk)
        position = end_of_chunk + length % 2


def _movi_lists(file: BinaryIO, size: int) -> Iterator[Box]:
    """Yield the lists that hold an AVI's pictures; one whose size is unknown ends with the file.

    A large file has several RIFF chunks. What the first says of its size is not believed: it is often a little wrong.
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


def _matroska_end(file: BinaryIO, size: int) -> list[Box]:
    """What of a Matroska file (RFC 8794, RFC 9559) goes on past its end: a cluster, or the segment of clusters."""
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
    return [] if position > size and clusters else [segment]  # without media is an index, or tags


def _element(file: BinaryIO, at: int) -> Box | None:
    """The Matroska element at a byte; None if there is none, or if its size is not known, as in live recordings."""
    file.seek(at)
    head = file.read(12)
    width = 9 - head[0].bit_length() if head and head[0] else 9
    if width > 4 or width >= len(head) or not head[width]:
        return None
    digits = 9 - head[width].bit_length()
    value = int.from_bytes(head[width : width + digits], "big") & ((1 << 7 * digits) - 1)
    start = at + width + digits
    return None if value == (1 << 7 * digits) - 1 else Box(head[:width], start, start + value)
