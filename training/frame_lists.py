"""The lists of face tracks (contract, section 0): `<part>/<video>/frame%d_face<k>.<ext> start stride count label`."""

from dataclasses import dataclass
from pathlib import Path

from common.errors import BadInputError
from common.folders import safe_relative


@dataclass(frozen=True)
class FaceTrack:
    """One line of a list. `pattern` holds %d for the frame's number; label 1 is FAKE."""

    pattern: str
    start: int
    stride: int
    count: int
    label: int

    @property
    def video(self) -> str:
        """`<part>/<video>`."""
        return self.pattern.rpartition("/")[0]

    def frame(self, index: int) -> str:
        """The path of the track's frame `index`, counted from 0, relative to the faces' folder."""
        folder, _, file = self.pattern.rpartition("/")
        return f"{folder}/{file.replace('%d', str(self.start + index * self.stride), 1)}"


def read_list(path: Path) -> list[FaceTrack]:
    """All tracks of a list, in order. Raises BadInputError naming the line that is malformed, or an empty list."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}:{content[: error.start].count(10) + 1}: not UTF-8: {error}") from error
    tracks = []
    # Only a newline ends a line: a name may hold what str.splitlines also splits at.
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], start=1):
        try:
            tracks.append(parse_line(line))
        except (BadInputError, ValueError) as error:
            raise BadInputError(f"{path}:{number}: {error}") from error
    if not tracks:
        raise BadInputError(f"{path} is empty")
    return tracks


def parse_line(line: str) -> FaceTrack:
    """Read one line; raises ValueError, or BadInputError for a path that points outside its folder."""
    pattern, *numbers = line.rsplit(" ", 4)
    if len(numbers) != 4 or "/" not in pattern or "%d" not in pattern.rpartition("/")[2]:
        raise ValueError(f"not '<part>/<video>/frame%d_face<k>.<ext> start stride count label': {line[:80]!r}")
    start, stride, count, label = map(int, numbers)
    if min(start, stride, count) < 1 or label not in (0, 1):
        raise ValueError(f"start, stride and count must be at least 1, label 0 or 1: {line[:80]!r}")
    return FaceTrack(safe_relative(pattern), start, stride, count, label)
