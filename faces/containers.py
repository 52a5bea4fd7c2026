"""What a video file's structure tells without decoding: its container, whether it is cut off or in fragments."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

EBML, SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"
FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"uuid")


class Box(NamedTuple):
    """A top-level box of an MP4 or QuickTime file (ISO/IEC 14496-12): its type, and the byte where it ends."""

    kind: bytes
    end: int


def is_container(path: Path) -> bool:
    """Whether the file begins as MP4, QuickTime, AVI or Matroska do."""
    with path.open("rb") as file:
        head = file.read(8)
    return head[4:] in FIRST_BOXES or head[:4] in (b"RIFF", EBML)


def cut_off(path: Path) -> str | None:
    """The reason why the file is not whole, if the lengths that it declares reach past its end; else None."""
    size, promised = path.stat().st_size, None
    for kind, end in boxes(path):
        if end > size:
            return f"{path}: cut off, its {kind.decode('latin-1')!r} box ends at byte {end} of {size}"
    with path.open("rb") as file:
        head = file.read(64)
    if head[:4] == b"RIFF":
        promised = 8 + int.from_bytes(head[4:8], "little")
    if head[:4] == EBML:
        promised = _matroska_end(head)
    return f"{path}: cut off, it should have {promised} bytes and has {size}" if promised and promised > size else None


def _matroska_end(head: bytes) -> int | None:
    """The byte where a Matroska file's segment ends (RFC 8794); None if it is not declared, as in live recordings."""
    header, start = _ebml_size(head, 4)
    at = start + (header or 0)
    if head[at : at + 4] != SEGMENT:
        return None
    length, start = _ebml_size(head, at + 4)
    return None if length is None else start + length


def _ebml_size(data: bytes, at: int) -> tuple[int | None, int]:
    """The size written at byte `at` (None if it is unknown), and the byte where the content begins."""
    width = 9 - data[at].bit_length() if at < len(data) and data[at] else 8
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), at + width


def in_fragments(path: Path) -> bool:
    """Whether the file is an MP4 in fragments: its header may declare only the frames of the first one."""
    return any(kind == b"moof" for kind, _ in boxes(path))


def boxes(path: Path) -> Iterator[Box]:
    """Yield the top-level boxes of an MP4 or QuickTime file, nothing for others; the last may end past the file."""
    size = path.stat().st_size
    position = 0
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            header = file.read(16)
            length = int.from_bytes(header[:4], "big")
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            if length < 8:  # 0: to the end of the file; 2-7: not a box, left to the decoder
                return
            if position == 0 and header[4:8] not in FIRST_BOXES:
                return
            position += length
            yield Box(header[4:8], position)
