"""Which videos to score, under which names."""

import glob
from collections import Counter
from pathlib import Path

from common.errors import BadInputError
from common.layout import is_video, read_filenames


def find_videos(inputs: list[Path], list_file: Path | None, videos: Path) -> dict[str, Path]:
    """Map file names, as the submission will hold them, to paths, in the order of the input.

    A folder stands for its videos, a pattern such as `clips/**/*.mp4` for the videos that it matches, both in the order
    of their names. Raises BadInputError for two videos with the same name, an unsafe name in the list, or a list
    without the column `filename`. Raises FileNotFoundError if there is no input, or if a pattern matches nothing.
    """
    paths = [(path.name, path) for entry in inputs for path in expand(entry)]
    if list_file is not None:
        paths += [(name, videos / name) for name in read_filenames(list_file)]
    repeated = [name for name, count in Counter(name for name, _ in paths).items() if count > 1]
    if repeated:
        raise BadInputError(f"more than one video is called {repeated[0]}; score them apart")
    if not paths:
        raise FileNotFoundError("no video to score: name videos, folders with videos, or a --list")
    return dict(paths)


def expand(entry: Path) -> list[Path]:
    """The videos that one word of the command line stands for."""
    if entry.is_dir():
        return sorted(path for path in entry.iterdir() if is_video(path))
    if entry.exists() or glob.escape(str(entry)) == str(entry):
        return [entry]
    found = sorted(filter(is_video, Path(entry.anchor).glob(str(entry.relative_to(entry.anchor)))))
    if not found:
        raise FileNotFoundError(f"no video matches {entry}")
    return found
