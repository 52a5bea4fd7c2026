"""Which files of a folder are videos: by their suffix, or by what ffmpeg finds in them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from common.errors import BadInputError
from common.folders import subfolders
from faces.streams import is_film

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".qt", ".avi", ".mkv", ".webm", ".wmv", ".asf", ".3gp", ".3g2", ".flv", ".f4v", ".ogv"),
    *(".mts", ".m2ts", ".m2t", ".ts", ".mpg", ".mpeg", ".mpe", ".m1v", ".m2v", ".vob", ".mxf", ".dv", ".ivf", ".rm"),
    *(".rmvb", ".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".mjpeg", ".mjpg", ".y4m", ".nut", ".wtv"),
)
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
