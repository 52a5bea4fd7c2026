"""A video that a public data set should hold, which copy of the set is meant, and the files in its folders."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from common.errors import BadInputError
from common.folders import files_below
from faces.video_files import has_suffix

SPLITS_FOLDER = Path(__file__).parent / "splits"
SPLITS = ("train", "val", "test")
SCENARIOS = ("face swap", "face reenactment", "talking face")  # Celeb-DF++'s (Li et al., 2025)
COMPRESSIONS = {"c0": ("c0", "raw"), "c23": ("c23",), "c40": ("c40",)}  # of FaceForensics++, and its folders' names


@dataclass(frozen=True)
class Item:
    """A video, or a video's precropped faces, that a data set should hold.

    `key` is its path below the root. Fakes and the real video that they were made of have the same `original`.
    """

    key: str
    label: int  # 1 FAKE
    manipulation: str  # "" for a real video
    original: str
    identities: tuple[str, ...]  # the persons
    split: str
    listed: int | None = None  # the label in the official list, where that has one besides the folder
    mask: str = ""  # path of the mask video below the root
    frames: tuple[str, ...] = ()  # of precropped faces: their paths below the root, in order
    scenario: str = ""  # of a fake: one of SCENARIOS, where the data set sorts its fakes by them


class Variant(NamedTuple):
    """Which copy of a data set: its compression, and DeepfakeBench's JSON file (None: the only one in the root)."""

    compression: str = "c23"
    listing: Path | None = None


def read_ffpp_pairs() -> dict[str, list[list[str]]]:
    """The official pairs of FaceForensics++ by split: two original videos whose faces were swapped."""
    return {split: json.loads((SPLITS_FOLDER / f"ffpp_{split}.json").read_text(encoding="utf-8")) for split in SPLITS}


def read_celebdf2_list() -> str:
    """The text of the official list of testing videos of Celeb-DF-v2."""
    return (SPLITS_FOLDER / "celebdf_v2_test.txt").read_text(encoding="utf-8")


def matches(root: Path, pattern: str) -> bool:
    """Whether there is a file or folder of this name, or pattern, below the root."""
    return next(iter(root.glob(pattern)), None) is not None if root.is_dir() else False


def videos_below(root: Path, *folders: str) -> Iterator[str]:
    """Yield the paths below the root of the videos in folders, by their suffix, in order."""
    for folder in folders:
        for path in files_below(root / folder):
            if has_suffix(path) and not path.name.startswith("."):
                yield path.relative_to(root).as_posix()


def refuse_outside(key: str, root: Path) -> None:
    """Raise BadInputError if a path would leave the root."""
    if Path(key).is_absolute() or ".." in Path(key).parts:
        raise BadInputError(f"{key!r} is outside the folder {root}")
