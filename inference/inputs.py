"""Which videos to score, under which names."""

import glob
from collections import Counter
from pathlib import Path

from common.errors import BadInputError
from common.folders import read_filenames
from faces.stills import is_picture
from faces.video_files import Videos, sort_out


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
