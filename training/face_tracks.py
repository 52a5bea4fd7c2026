"""Lists of face tracks and their crops on disk; a crop of the same track replaces an unreadable one.

A list has a line per track (reference, section 0): `<part>/<video>/frame%d_face<k>.<ext> start stride count label`.
"""

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import BadInputError
from common.folders import safe_relative
from common.pack import read_face
from common.spread import spread

log = logging.getLogger(__name__)
TRIED = 1000  # at most this many crops are tried to see whether a list's crops are there
REPLACEMENTS = 10  # frames of a track that are tried in place of an unreadable one, nearest first


@dataclass(frozen=True)
class FaceTrack:
    """A line of a list: `count` crops of a face, from frame `start` on (1-based), every `stride`-th; label 1 is FAKE.

    `pattern` is a crop's path, with %d for the frame's number.
    """

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
    """All tracks of a list, in order.

    Raises BadInputError naming a malformed line, or if the list is empty; FileNotFoundError if there is no list.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}:{content[: error.start].count(10) + 1}: not UTF-8: {error}") from error
    tracks = []
    # Only a newline ends a line: str.splitlines would also split at other characters that a name may contain.
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], start=1):
        try:
            tracks.append(parse_line(line))
        except (BadInputError, ValueError) as error:
            raise BadInputError(f"{path}:{number}: {error}") from error
    if not tracks:
        raise BadInputError(f"{path} is empty")
    return tracks


def parse_line(line: str) -> FaceTrack:
    """The track of a line. Raises ValueError, or BadInputError for a path that points outside its folder."""
    pattern, *numbers = line.rsplit(" ", 4)
    if len(numbers) != 4 or "/" not in pattern or "%d" not in pattern.rpartition("/")[2]:
        raise ValueError(f"not '<part>/<video>/frame%d_face<k>.<ext> start stride count label': {line[:80]!r}")
    start, stride, count, label = map(int, numbers)
    if min(start, stride, count) < 1 or label not in (0, 1):
        raise ValueError(f"start, stride and count must be at least 1, label 0 or 1: {line[:80]!r}")
    return FaceTrack(safe_relative(pattern), start, stride, count, label)


class FaceTracks:
    """The tracks that lists name, in the order of their lines, one list after another."""

    def __init__(self, root: Path, *list_files: Path) -> None:
        """Raises as `read_list` does. `root` is the folder that the lists' paths are relative to."""
        lists = {file: read_list(file) for file in list_files}
        self.root = root
        self.sizes = [len(tracks) for tracks in lists.values()]
        self.tracks = [track for tracks in lists.values() for track in tracks]
        self.places = [f"{file}:{line}" for file, tracks in lists.items() for line in range(1, len(tracks) + 1)]

    def __len__(self) -> int:
        return len(self.tracks)

    def __iter__(self) -> Iterator[FaceTrack]:
        return iter(self.tracks)

    def __getitem__(self, number: int) -> FaceTrack:
        return self.tracks[number]

    def read(self, number: int, frame: int) -> np.ndarray:
        """Crop `frame`, counted from 0, of track `number`: BGR uint8 [h, w, 3]. Raises BadInputError if unreadable."""
        return read_face(self.root / self.tracks[number].frame(frame))

    def read_near(self, number: int, frame: int) -> tuple[np.ndarray, list[str]]:
        """The crop BGR uint8 [h, w, 3], or the nearest readable one of its track; and the unreadable crops' names.

        Each unreadable crop is logged with its line in the list. Raises BadInputError if the crop and its REPLACEMENTS
        nearest are all unreadable.
        """
        bad: list[str] = []
        for candidate in self.nearest(number, frame):
            try:
                return self.read(number, candidate), bad
            except BadInputError as error:
                log.warning("%s: %s; another frame of its track takes its place", self.places[number], error)
                bad.append(self.tracks[number].frame(candidate))
        raise BadInputError(
            f"{self.places[number]}: none of {len(bad)} crops is readable, from {bad[0]} on, in {self.root}"
        )

    def any_readable(self) -> tuple[int, bool]:
        """How many crops were tried, at most TRIED spread over the whole list, and whether one of them is readable."""
        ends = np.cumsum([track.count for track in self.tracks])
        indices = spread(int(ends[-1]), TRIED)
        for tried, index in enumerate(indices.tolist(), start=1):
            number = int(np.searchsorted(ends, index, side="right"))
            with suppress(BadInputError):
                self.read(number, index - int(ends[number]) + self.tracks[number].count)
                return tried, True
        return len(indices), False

    @property
    def labels(self) -> set[int]:
        """The labels that occur (1 FAKE)."""
        return {track.label for track in self.tracks}

    def nearest(self, number: int, frame: int) -> Iterator[int]:
        """Yield a frame of a track, then the REPLACEMENTS frames that may replace it, nearest first."""
        yield frame
        others = sorted(range(self.tracks[number].count), key=lambda other: abs(other - frame))
        yield from others[1 : REPLACEMENTS + 1]
