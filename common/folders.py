"""The DFDC folder tree (reference, section 0): `<root>/<part>/<video>/frame%d.<ext>`, numbered from 1 without a gap."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import BadInputError
from common.tables import read_table

_FRAME_NUMBER = re.compile(r"frame([1-9]\d*)")


def subfolders(folder: Path) -> list[Path]:
    """The folders in `folder` that are not hidden, sorted by name; files beside them are ignored."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, sorted. Links to folders are followed, but each folder is entered once."""
    files: list[Path] = []
    entered: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders.sort()
        files += [Path(parent, name) for name in names]
    return sorted(files)


def part_folders(root: Path) -> dict[str, Path]:
    """Map `<part>/<video>` to the video's folder below `root`, sorted by name.

    Raises FileNotFoundError if `root` is missing or holds no such folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; run the stage before this one first")
    folders = {f"{part.name}/{video.name}": video for part in subfolders(root) for video in subfolders(part)}
    if not folders:
        raise FileNotFoundError(f"{root} holds no <part>/<video> folder; run the stage before this one first")
    return folders


def numbered_frames(folder: Path, suffix: str) -> list[Path]:
    """The files `frame1<suffix>`, `frame2<suffix>`, ... of a folder, by number.

    Raises BadInputError if the folder is missing, has no such file, or lacks a number in between.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder} is missing")
    by_number = dict(_frame_numbers(folder, suffix))
    if not by_number:
        raise BadInputError(f"{folder} holds no frame%d{suffix}")
    missing = [number for number in range(1, max(by_number) + 1) if number not in by_number]
    if missing:
        raise BadInputError(f"{folder}: frame{missing[0]}{suffix} is missing ({len(missing)} of {max(by_number)} are)")
    return [by_number[number] for number in range(1, len(by_number) + 1)]


def frame_folder(folder: Path) -> tuple[list[Path], dict[str, Any]]:
    """The frames of a video, in order, and the content of the `video.json` that stage 1 writes beside them.

    The content is empty for frames from elsewhere, without a `video.json`. Raises BadInputError as `numbered_frames`
    does, and if `video.json` is unreadable or gives another number of frames.
    """
    frames = numbered_frames(folder, ".png")
    path = folder / "video.json"
    if not path.is_file():
        return frames, {}
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInputError(f"{path}: {error}") from error
    if not isinstance(facts, dict) or facts.get("frames") != len(frames):
        raise BadInputError(f"{folder} holds {len(frames)} frames, which is not what its video.json says")
    return frames, facts


def _frame_numbers(folder: Path, suffix: str) -> Iterator[tuple[int, Path]]:
    """Yield number and path of every `frame<number><suffix>` in a folder, in no order."""
    for path in folder.iterdir():
        match = _FRAME_NUMBER.fullmatch(path.stem)
        if match and path.suffix == suffix:
            yield int(match[1]), path


def read_filenames(path: Path) -> list[str]:
    """The column `filename` of a CSV such as Kaggle's sample_submission.csv, in order.

    Raises BadInputError as `common.tables.read_table` does, or if a name points outside its folder; OSError if the file
    cannot be read.
    """
    names = []
    for line, cells in read_table(path, ["filename"]):
        try:
            names.append(safe_relative(cells["filename"]))
        except BadInputError as error:
            raise BadInputError(f"{path}:{line}: {error}") from error
    return names


def safe_relative(name: str) -> str:
    """Return `name` if it is a relative path that stays inside its folder.

    Raises BadInputError if it is empty or absolute, or if it contains `..`, a backslash or a zero byte.
    """
    if not name or "\0" in name or "\\" in name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise BadInputError(f"unsafe name {name!r}: it must be relative and may not contain '..'")
    return name
