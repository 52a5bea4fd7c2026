"""Which files are videos or pictures, by suffix and content, and which of them a folder or command line stands for."""

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from common.errors import BadInputError
from common.folders import files_below, read_filenames, subfolders
from faces.containers import picture_format
from faces.streams import has_moving_pictures

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".qt", ".avi", ".mkv", ".webm", ".wmv", ".asf", ".3gp", ".3g2", ".flv", ".f4v", ".ogv"),
    *(".mts", ".m2ts", ".m2t", ".ts", ".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".vob", ".mxf", ".dv", ".ivf", ".rm"),
    *(".rmvb", ".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".mjpeg", ".mjpg", ".y4m", ".nut", ".wtv"),
)
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
    """Whether a file is not hidden and has a video's suffix or holds moving pictures. A folder never is one."""
    if path.name.startswith(".") or path.is_dir():
        return False
    return has_suffix(path) or (path.is_file() and has_moving_pictures(path))


def has_suffix(path: Path) -> bool:
    """Whether a name has a video's suffix, in upper or lower case."""
    return path.suffix.lower() in SUFFIXES


def is_picture(path: Path) -> bool:
    """Whether a file's content is a picture that `faces.stills` reads, whatever its name."""
    return path.is_file() and picture_format(path) is not None


def split_videos(paths: Iterable[Path], with_pictures: bool = False) -> tuple[list[Path], list[str]]:
    """The videos, perhaps pictures, among paths and the names of the others, both sorted.

    Hidden files and COMPANIONS are neither.
    """
    videos, others = [], []
    for path in sorted(paths):
        if (with_pictures and not path.name.startswith(".") and is_picture(path)) or is_video(path):
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


def find_videos(inputs: list[Path], list_file: Path | None, videos: Path, recursive: bool = False) -> Videos:
    """Map the file names that a submission will hold to paths, in the order of the input.

    A folder, or a pattern such as `clips/**/*.mp4`, stands for the videos and pictures in it, sorted by name. With
    `recursive`, those in the subfolders of a folder count too; their names are the paths below the folder.
    Raises BadInputError for two videos with the same name, an unsafe name in the list, or a list that lacks the column
    `filename`. Raises FileNotFoundError if there is no input or a pattern matches nothing.
    """
    expanded = [expand(entry, recursive) for entry in inputs]
    paths = [named for named_paths, _ in expanded for named in named_paths]
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


def expand(entry: Path, recursive: bool) -> tuple[list[tuple[str, Path]], list[str]]:
    """The videos and pictures, with their names, that a word of the command line stands for, and what is left out.

    Raises FileNotFoundError if it is a pattern that matches neither.
    """
    if entry.is_dir():
        inside = files_below(entry) if recursive else entry.iterdir()
        chosen, others = split_videos(inside, with_pictures=True)
        return [(path.relative_to(entry).as_posix(), path) for path in chosen], others
    if entry.exists() or glob.escape(str(entry)) == str(entry):
        return [(entry.name, entry)], []
    matches = Path(entry.anchor).glob(str(entry.relative_to(entry.anchor)))
    chosen, others = split_videos(matches, with_pictures=True)
    if not chosen:
        raise FileNotFoundError(f"no video matches {entry}{Videos({}, others).note}")
    return [(path.name, path) for path in chosen], others
