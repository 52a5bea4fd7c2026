"""What the structure of a video or picture tells without decoding: its format, whether it is cut off or fragmented."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

EBML, SEGMENT, CLUSTER = (bytes.fromhex(name) for name in ("1a45dfa3", "18538067", "1f43b675"))
TRACKS, TRACK, TRACK_TYPE = (bytes.fromhex(name) for name in ("1654ae6b", "ae", "83"))
ENCRYPTION = tuple(bytes.fromhex(name) for name in ("6d80", "6240", "5035"))  # within a track, each in the one before
ENCRYPTED_ENTRIES = (b"encv", b"drmi")  # what MP4 calls encrypted video (ISO/IEC 23001-7), and Apple
DOLBY_VISION = (b"dvcC", b"dvvC")  # its configuration, in MP4 a box, in Matroska a block addition
TS_PACKETS = (188, 192, 204)  # bytes of an MPEG transport stream's packet
FIRST_KINDS = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"uuid")
MEDIA_KINDS = (b"moov", b"mdat", b"moof")
# Sizes in an AVI whose writer could not go back and fill them in, as in a pipe: no bit or every bit is set.
UNKNOWN_SIZES = (0, 0xFFFFFFFF)

PNG_START = b"\x89PNG\r\n\x1a\n"
# How files of other formats begin that people take for pictures or that cameras write. ffmpeg would misread some.
OTHER_FORMATS = {
    **{b"II*\0": "TIFF", b"MM\0*": "TIFF", b"BM": "BMP", b"8BPS": "Photoshop", b"II\xbc\1": "JPEG XR"},
    **{b"\0\0\0\x0cjP  ": "JPEG 2000", b"\0\0\0\x0cJXL ": "JPEG XL", b"\xff\x0a": "JPEG XL", b"%PDF": "PDF"},
}
# The brands in the first box of pictures that are kept like a video, in ISO's base media format.
BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "HEIF"),
}
ANY_CODEC = (b"mif1", b"mif2", b"msf1", b"miaf")  # major brands of both; the compatible brands say which it is
MJPEG_SUFFIXES = (".mjpeg", ".mjpg")


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


def picture_format(path: Path) -> str | None:
    """The format of a picture by its content, JPEG, PNG, WEBP, AVIF or HEIF; None for another file.

    Only a JPEG whose name ends in .mjpeg or .mjpg is a video: a stream of JPEGs begins as one does.
    """
    if not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"\xff\xd8\xff"):
        return None if path.suffix.lower() in MJPEG_SUFFIXES else "JPEG"
    if start.startswith(PNG_START):
        return "PNG"
    if (start[:4], start[8:12]) == (b"RIFF", b"WEBP"):
        return "WEBP"
    if start[4:8] != b"ftyp":
        return None
    major, length = start[8:12], int.from_bytes(start[:4], "big")
    compatible = (start[index : index + 4] for index in range(16, min(length, len(start)), 4))
    brands = [major, *compatible] if major in ANY_CODEC else [major]
    return next((BRANDS[brand] for brand in brands if brand in BRANDS), "HEIF" if major in ANY_CODEC else None)


def other_format(path: Path) -> str | None:
    """The name of a format of pictures or documents that is not read; None for any other content."""
    with path.open("rb") as file:
        start = file.read(12)
    return next((name for beginning, name in OTHER_FORMATS.items() if start.startswith(beginning)), None)


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


def video_header(path: Path) -> bytes:
    """What an MP4, QuickTime or Matroska file says about its streams; empty for other files."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) == EBML:
            segment = next((element for element in _elements(file, 0, size) if element.kind == SEGMENT), None)
            elements = _elements(file, segment.start, min(segment.end, size)) if segment else iter(())
            header = next((element for element in elements if element.kind == TRACKS), None)
        else:
            header = next((chunk for chunk in top_level_chunks(file, size) if chunk.kind == b"moov"), None)
        if header is None:
            return b""
        file.seek(header.start)
        return file.read(min(header.end, size) - header.start)


def is_encrypted(path: Path) -> bool:
    """Whether the video in an MP4, QuickTime, Matroska or MPEG-TS file is encrypted."""
    with path.open("rb") as file:
        head = file.read(12)
        if 0x47 in (head[:1] + head[4:5]):
            return _is_scrambled(head + file.read(1 << 20))
    header = video_header(path)
    if head[:4] != EBML:
        return b"sinf" in header and any(entry in header for entry in ENCRYPTED_ENTRIES)
    tracks = BytesIO(header)
    for track in _elements(tracks, 0, len(header)):
        content = list(_elements(tracks, track.start, track.end)) if track.kind == TRACK else []
        shows = any(
            element.kind == TRACK_TYPE and header[element.end - 1 : element.end] == b"\x01" for element in content
        )
        for kind in ENCRYPTION:
            inside = [element for element in content if element.kind == kind]
            content = [child for element in inside for child in _elements(tracks, element.start, element.end)]
        if shows and inside:
            return True
    return False


def _is_scrambled(head: bytes) -> bool:
    """Whether most packets with content of an MPEG transport stream, of which this is the beginning, are scrambled."""
    for size in TS_PACKETS:
        packets = [head[start : start + 4] for start in range(size - 188, len(head) - 4, size)]
        if len(packets) > 4 and all(packet[0] == 0x47 for packet in packets[:5]):
            full = [packet for packet in packets if packet[0] == 0x47 and packet[3] & 0x10]
            return 2 * sum(packet[3] >= 0x40 for packet in full) > len(full)
    return False


def dolby_vision_profile(path: Path) -> int | None:
    """The profile of Dolby Vision that a file declares, if its colours need it: no other base layer is compatible."""
    header = video_header(path)
    for kind in DOLBY_VISION:
        start = header.find(kind) + 4
        if start < 4:
            continue
        if header[start : start + 2] == b"\x41\xed":  # Matroska's element with the same record, after its size
            start += 3
        record = header[start : start + 5]
        if len(record) == 5 and not record[4] >> 4:
            return record[2] >> 1
    return None


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
    segment = _element(file, header.end) if header and header.end < size else None
    if segment is None or segment.kind != SEGMENT or segment.end <= size:
        return []
    position, clusters, last = segment.start, 0, segment
    while position < size and (element := _element(file, position)):
        clusters += element.kind == CLUSTER
        position, last = element.end, element
    if position > size and last.kind == CLUSTER:
        return [last]
    return [] if position > size and clusters else [segment]  # an index or tags hold no pictures


def _elements(file: BinaryIO, position: int, end: int) -> Iterator[Chunk]:
    """Yield the Matroska elements between two bytes, up to one of unknown size, which ends there."""
    while position < end:
        element = _element(file, position)
        if element is None:
            file.seek(position)
            head = file.read(5)
            if head[:4] == SEGMENT and len(head) == 5:
                yield Chunk(SEGMENT, position + 13 - head[4].bit_length(), end)
            return
        yield element
        position = element.end


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
