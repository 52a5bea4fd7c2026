"""Which files are videos or pictures, by suffix and content, and which of them a command line or a folder means."""

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from common.errors import BadInputError
from common.folders import read_filenames, subfolders
from faces.streams import is_film

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".qt", ".avi", ".mkv", ".webm", ".wmv", ".asf", ".3gp", ".3g2", ".flv", ".f4v", ".ogv"),
    *(".mts", ".m2ts", ".m2t", ".ts", ".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".vob", ".mxf", ".dv", ".ivf", ".rm"),
    *(".rmvb", ".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".mjpeg", ".mjpg", ".y4m", ".nut", ".wtv"),
)
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
COMPANIONS = ("metadata.json",)  # files that this project reads beside videos
NAMED = 5  # names of what is left out that messages hold


class Videos(NamedTuple):
    """The videos of folders by name, and the names of what else lies there: no videos, or not where videos belong.

    Hidden files do not count.
    """

    videos: dict[str, Path]
    left_out: list[str]

    @property
    def said(self) -> str:
        """What is left out, as the end of a summary line: empty, or beginning with `; `."""
        return f"; {left_out(self.left_out)}" if self.left_out else ""


def left_out(names: Sequence[str]) -> str:
    """How many files were left out, and the names of the first."""
    more = ", ..." if len(names) > NAMED else ""
    return f"left out {len(names)}: {', '.join(names[:NAMED])}{more}"


def is_video(path: Path) -> bool:
    """Whether a file that is not hidden has a video's suffix, in upper or lower case, or shows pictures that move."""
    if path.name.startswith("."):
        return False
    return has_suffix(path) or (path.is_file() and is_film(path))


def has_suffix(path: Path) -> bool:
    """Whether the name has a video's suffix, in upper or lower case."""
    return path.suffix.lower() in SUFFIXES


def is_picture(path: Path) -> bool:
    """Whether a file has a picture's suffix, in upper or lower case, and begins as a JPEG, PNG or WebP does."""
    if path.suffix.lower() not in PICTURE_SUFFIXES or not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(12)
    return start.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")) or (start[:4], start[8:]) == (b"RIFF", b"WEBP")


def sort_out(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """The videos among paths, and the names of the others, both in order; hidden ones and COMPANIONS are dropped."""
    videos, others = [], []
    for path in sorted(paths):
        if is_video(path):
            videos.append(path)
        elif not path.name.startswith(".") and path.name not in COMPANIONS:
            others.append(f"{path.name}/" if path.is_dir() else path.name)
    return videos, others


def part_videos(root: Path) -> Videos:
    """Map `<part>/<video>` (no suffix) to the video file, for every part below `root`, in order.

    Raises FileNotFoundError if `root` is absent or holds no video. Raises BadInputError if two videos of a part differ
    only in their suffix, because they would share a folder. One without a video's suffix then gives way.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; it should hold one folder of videos per part")
    parts = subfolders(root)
    found: dict[str, Path] = {}
    astray, others = sort_out(path for path in root.iterdir() if path not in parts)
    beside = [*(path.name for path in astray), *others]
    for part in parts:
        videos, others = sort_out(part.iterdir())
        beside += [f"{part.name}/{name}" for name in others]
        named = {path.stem for path in videos if has_suffix(path)}
        for path in videos:
            key = f"{part.name}/{path.stem}"
            if path.stem in named and not has_suffix(path):
                beside.append(f"{part.name}/{path.name}")
            elif key in found:
                raise BadInputError(f"{found[key]} and {path} would share the folder {key}; rename one")
            else:
                found[key] = path
    if not found:
        raise FileNotFoundError(f"no video in {root}/<part>/{Videos({}, beside).said}")
    return Videos(found, beside)


def find_videos(inputs: list[Path], list_file: Path | None, videos: Path) -> Videos:
    """Map file names, as the submission will hold them, to paths, in the order of the input.

    A folder stands for its videos, a pattern such as `clips/**/*.mp4` for the videos and pictures that it matches, both
    in the order of their names. Raises BadInputError for two videos with the same name, an unsafe name in the list, or
    a list without the column `filename`. Raises FileNotFoundError if there is no input or a pattern matches nothing.
    """
    expanded = [expand(entry) for entry in inputs]
    paths = [(path.name, path) for found, _ in expanded for path in found]
    left_out = [name for _, names in expanded for name in names]
    if list_file is not None:
        paths += [(name, videos / name) for name in read_filenames(list_file)]
    repeated = [name for name, count in Counter(name for name, _ in paths).items() if count > 1]
    if repeated:
        raise BadInputError(f"more than one video is called {repeated[0]}; score them apart")
    found = Videos(dict(paths), left_out)
    if not paths:
        raise FileNotFoundError(f"no video to score: name videos, folders with videos, or a --list{found.said}")
    return found


def expand(entry: Path) -> tuple[list[Path], list[str]]:
    """The videos that one word of the command line stands for, and the names of what else it does."""
    if entry.is_dir():
        return sort_out(entry.iterdir())
    if entry.exists() or glob.escape(str(entry)) == str(entry):
        return [entry], []
    matches = sorted(Path(entry.anchor).glob(str(entry.relative_to(entry.anchor))))
    pictures = {path for path in matches if is_picture(path)}
    films, others = sort_out(path for path in matches if path not in pictures)
    videos = sorted([*films, *pictures])
    if not videos:
        raise FileNotFoundError(f"no video matches {entry}{Videos({}, others).said}")
    return videos, others
