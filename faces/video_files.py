"""Which files are videos or pictures, by suffix and content, and which of them a folder or command line stands for."""

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from common.errors import BadInputError
from common.folders import read_filenames, subfolders
from faces.streams import has_moving_pictures

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".qt", ".avi", ".mkv", ".webm", ".wmv", ".asf", ".3gp", ".3g2", ".flv", ".f4v", ".ogv"),
    *(".mts", ".m2ts", ".m2t", ".ts", ".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".vob", ".mxf", ".dv", ".ivf", ".rm"),
    *(".rmvb", ".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".mjpeg", ".mjpg", ".y4m", ".nut", ".wtv"),
)
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
COMPANIONS = ("metadata.json",)  # files that this project reads beside videos
NAMES_SHOWN = 5  # of the files that are left out, in messages


class Videos(NamedTuple):
    """The videos of folders by name, and the names of other files there: not videos, or not where videos belong.

    Hidden files do not count.
    """

    videos: dict[str, Path]
    left_out: list[str]

    @property
    def note(self) -> str:
        """What is left out, to end a summary line with: empty, or beginning with `; `."""
        return f"; {describe_left_out(self.left_out)}" if self.left_out else ""


def describe_left_out(names: Sequence[str]) -> str:
    """How many files were left out, and the names of the first few."""
    more = ", ..." if len(names) > NAMES_SHOWN else ""
    return f"left out {len(names)}: {', '.join(names[:NAMES_SHOWN])}{more}"


def is_video(path: Path) -> bool:
    """Whether a file is not hidden and has a video's suffix or holds moving pictures."""
    if path.name.startswith("."):
        return False
    return has_suffix(path) or (path.is_file() and has_moving_pictures(path))


def has_suffix(path: Path) -> bool:
    """Whether a name has a video's suffix, in upper or lower case."""
    return path.suffix.lower() in SUFFIXES


def is_picture(path: Path) -> bool:
    """Whether a file has a picture's suffix, in upper or lower case, and begins like a JPEG, PNG or WebP file."""
    if path.suffix.lower() not in PICTURE_SUFFIXES or not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(12)
    return start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or (start[:4], start[8:]) == (b"RIFF", b"WEBP")


def split_videos(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """The videos among paths and the names of the others, both sorted, without hidden files and COMPANIONS."""
    videos, others = [], []
    for path in sorted(paths):
        if is_video(path):
            videos.append(path)
        elif not path.name.startswith(".") and path.name not in COMPANIONS:
            others.append(f"{path.name}/" if path.is_dir() else path.name)
    return videos, others


def part_videos(root: Path) -> Videos:
    """Map `<part>/<video>` (no suffix) to the video file, for every part below `root`, in order.

    Raises FileNotFoundError if `root` is missing or holds no video. Raises BadInputError if two videos of a part differ
    only in their suffix, because they would share a folder; a file without a video's suffix is left out instead.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; it should hold one folder of videos per part")
    parts = subfolders(root)
    videos: dict[str, Path] = {}
    outside, others = split_videos(path for path in root.iterdir() if path not in parts)
    left_out = [*(path.name for path in outside), *others]
    for part in parts:
        paths, others = split_videos(part.iterdir())
        left_out += [f"{part.name}/{name}" for name in others]
        stems = {path.stem for path in paths if has_suffix(path)}
        for path in paths:
            key = f"{part.name}/{path.stem}"
            if path.stem in stems and not has_suffix(path):
                left_out.append(f"{part.name}/{path.name}")
            elif key in videos:
                raise BadInputError(f"{videos[key]} and {path} would share the folder {key}; rename one of them")
            else:
                videos[key] = path
    if not videos:
        raise FileNotFoundError(f"no video in {root}/<part>/{Videos({}, left_out).note}")
    return Videos(videos, left_out)


def find_videos(inputs: list[Path], list_file: Path | None, videos: Path) -> Videos:
    """Map the file names that a submission will hold to paths, in the order of the input.

    A folder stands for its videos, a pattern such as `clips/**/*.mp4` for the videos and pictures that it matches, both
    sorted by name. Raises BadInputError for two videos with the same name, an unsafe name in the list, or a list that
    lacks the column `filename`. Raises FileNotFoundError if there is no input or a pattern matches nothing.
    """
    expanded = [expand(entry) for entry in inputs]
    paths = [(path.name, path) for matches, _ in expanded for path in matches]
    left_out = [name for _, names in expanded for name in names]
    if list_file is not None:
        paths += [(name, videos / name) for name in read_filenames(list_file)]
    repeated = [name for name, count in Counter(name for name, _ in paths).items() if count > 1]
    if repeated:
        raise BadInputError(f"more than one video is called {repeated[0]}; score them in separate runs")
    videos_to_score = Videos(dict(paths), left_out)
    if not paths:
        message = "no video to score: name videos, folders with videos, or a --list"
        raise FileNotFoundError(message + videos_to_score.note)
    return videos_to_score


def expand(entry: Path) -> tuple[list[Path], list[str]]:
    """The videos that a word of the command line stands for, and the names of other files that it matches.

    Raises FileNotFoundError if it is a pattern that matches no video.
    """
    if entry.is_dir():
        return split_videos(entry.iterdir())
    if entry.exists() or glob.escape(str(entry)) == str(entry):
        return [entry], []
    matches = sorted(Path(entry.anchor).glob(str(entry.relative_to(entry.anchor))))
    pictures = {path for path in matches if is_picture(path)}
    videos, others = split_videos(path for path in matches if path not in pictures)
    if not videos and not pictures:
        raise FileNotFoundError(f"no video matches {entry}{Videos({}, others).note}")
    return sorted([*videos, *pictures]), others
