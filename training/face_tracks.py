"""The face tracks of a list and their crops on disk; a crop of the same track replaces an unreadable one."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from common.errors import BadInputError
from common.pack import read_face
from common.spread import spread
from training.frame_lists import FaceTrack, read_list

log = logging.getLogger(__name__)
TRIED = 1000  # crops that are looked at to see whether a list's crops are there
REPLACEMENTS = 10  # frames of a track that are tried in place of an unreadable one, nearest first


class FaceTracks:
    """The tracks that lists name, by the order of their lines, one list after another."""

    def __init__(self, root: Path, *list_files: Path) -> None:
        """Raises BadInputError for a malformed line or an empty list, FileNotFoundError if there is no list."""
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
        """The crop, or the nearest readable one of its track; and the names of the crops that could not be read.

        Each unreadable crop is logged with its line in the list. Raises BadInputError if the crop and its nearest ten
        are all unreadable.
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
        """How many crops were tried, up to TRIED over the whole list, and whether one of them can be read."""
        ends = np.cumsum([track.count for track in self.tracks])
        places = spread(int(ends[-1]), TRIED)
        for tried, place in enumerate(places.tolist(), start=1):
            number = int(np.searchsorted(ends, place, side="right"))
            with suppress(BadInputError):
                self.read(number, place - int(ends[number]) + self.tracks[number].count)
                return tried, True
        return len(places), False

    @property
    def labels(self) -> set[int]:
        """The labels that occur."""
        return {track.label for track in self.tracks}

    def nearest(self, number: int, frame: int) -> Iterator[int]:
        """Yield a frame of a track, then the frames that may replace it, nearest first."""
        yield frame
        others = sorted(range(self.tracks[number].count), key=lambda other: abs(other - frame))
        yield from others[1 : REPLACEMENTS + 1]
