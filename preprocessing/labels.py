"""The labelled videos behind the lists of stage 4: metadata.json, info.json, and the persons of orphans.

An orphan is a fake whose original is not in any metadata.json.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import BadInputError
from common.folders import safe_relative, subfolders
from common.labels import label_of
from common.tables import read_table

ORPHANS = ""  # the original that all orphans share if they are allowed


class LabelledVideo(NamedTuple):
    """A labelled video whose faces are cut."""

    part: str
    name: str  # without suffix
    label: int  # 1 for FAKE
    original: str  # its name, without suffix
    frames: int
    faces: int  # face tracks
    test: bool = False  # whether its metadata.json assigns it to a test split


class Metadata(NamedTuple):
    """The content of all metadata.json files, with the faces."""

    videos: list[LabelledVideo]  # those that can be used, in order
    fakes: dict[str, int]  # the number of each original's fakes, with and without faces
    names: set[str]  # of all videos
    failed: dict[str, str]  # why a `<part>/<video>` cannot be used


def read_videos(folder: Path, faces: Path) -> Metadata:
    """Read all labelled videos below `folder`, with their faces. Raises BadInputError as `read_metadata` does."""
    videos: list[LabelledVideo] = []
    fakes: dict[str, int] = {}
    names: set[str] = set()
    failed: dict[str, str] = {}
    for part in subfolders(folder):
        if not (part / "metadata.json").is_file():
            continue
        for file, entry in sorted(read_metadata(part / "metadata.json").items()):
            name = Path(file).stem
            names.add(name)
            try:
                label, original = read_entry(entry, file, part / "metadata.json")
                fakes[original] = fakes.get(original, 0) + label
                frames, tracks = read_info(faces / part.name / name / "info.json")
            except BadInputError as error:
                failed[printable(f"{part.name}/{name}")] = printable(str(error))
            else:
                test = entry.get("split") == "test"
                videos.append(LabelledVideo(part.name, name, label, original, frames, tracks, test))
    return Metadata(videos, fakes, names, failed)


def read_metadata(path: Path) -> dict[str, Any]:
    """Read a part's metadata.json. Raises BadInputError, which names it, if it is malformed or names other folders."""
    try:
        metadata = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise BadInputError(f"{path}: {error}") from error
    if not isinstance(metadata, dict):
        raise BadInputError(f'{path} is not a map from file names to {{"label": ...}}')
    for file in metadata:
        if Path(safe_relative(file)).name != file:
            raise BadInputError(f"{path}: {file!r} is not a plain file name")
    return metadata


def read_entry(entry: Any, file: str, path: Path) -> tuple[int, str]:  # noqa: ANN401  # whatever the file holds
    """A video's label, and the name of its original, or its own name if it has none.

    Raises BadInputError, which names the metadata.json at `path`, for a wrong entry.
    """
    if not isinstance(entry, dict):
        raise BadInputError(f'{path}: the entry of {file!r} is {entry!r}, not {{"label": ...}}')
    original = entry.get("original")
    if original is not None and not isinstance(original, str):
        raise BadInputError(f"{path}: the original of {file!r} is {original!r}, not a name")
    for name in (path.parent.name, file, original or ""):
        if "\n" in name or printable(name) != name:
            raise BadInputError(f"{path}: the name {name!r} cannot be written to a list")
    return label_of(path, repr(file), entry.get("label")), Path(original or file).stem


def read_info(path: Path) -> tuple[int, int]:
    """The numbers of frames and tracks in an info.json. Raises BadInputError if it is missing or malformed."""
    try:
        if not path.is_file():
            raise BadInputError(f"{path} is missing: its faces are not cut yet")
        info = json.loads(path.read_text(encoding="utf-8"))
        return int(info["frames"]), len(info["tracks"])
    except OSError as error:  # for example a name that is too long
        raise BadInputError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{path}: malformed ({error!r})") from error


def printable(text: str) -> str:
    """The text, with a backslash and the number in place of every character that UTF-8 cannot encode."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def find_orphans(metadata: Metadata, public: set[str]) -> list[LabelledVideo]:
    """The fakes without an original in any metadata.json, except public-validation videos."""
    fakes = [video for video in metadata.videos if video.label and video.name not in public]
    return [video for video in fakes if video.original == video.name or video.original not in metadata.names]


def read_persons(path: Path) -> dict[str, str]:
    """The person of each video by its name (no suffix), from a CSV `filename,person`.

    Raises BadInputError if a column is missing or the file is not UTF-8.
    """
    rows = (row for _, row in read_table(path, ["filename", "person"], errors="strict"))
    return {Path(row["filename"]).stem: row["person"] for row in rows if row["filename"] and row["person"]}


def with_persons(
    metadata: Metadata, orphans: list[LabelledVideo], persons: dict[str, str] | None, allow: bool
) -> Metadata:
    """The metadata with each orphan's person as its original, and with the persons of other videos that are given.

    With `allow`, all orphans without a person share one original. Raises BadInputError, which names up to five orphans,
    if some have no person and `allow` is not set.
    """
    missing = [video for video in orphans if persons is None or video.name not in persons]
    if missing and not allow:
        raise BadInputError(
            f"{len(missing)} fakes have no original in any metadata.json, such as "
            f"{', '.join(f'{video.part}/{video.name}' for video in missing[:5])}: their persons may be on both sides. "
            "--orphans FILE names their persons, --allow-orphans puts them all on the training side"
        )
    new_originals = dict.fromkeys(missing, ORPHANS)
    orphaned = set(orphans)
    for video in metadata.videos:
        # A fake follows its original. Its own row in the table of persons counts only if it is an orphan.
        row = video.name if video in orphaned or not video.label else video.original
        if persons and row in persons:
            new_originals[video] = persons[row]
    fakes = dict(metadata.fakes)
    for video, person in new_originals.items():
        fakes[video.original] -= video.label
        fakes[person] = fakes.get(person, 0) + video.label
    return metadata._replace(
        videos=[video._replace(original=new_originals.get(video, video.original)) for video in metadata.videos],
        fakes={original: count for original, count in fakes.items() if original or count},
    )
