"""Stage 4: the eight lists of face tracks that training and validation read.

Reads  DFDC-Kaggle/<part>/metadata.json
       DFDC-Kaggle_Alignedface/<part>/<video>/info.json
       inference/sample_submission.csv
Writes DFDC-Kaggle_list/*.txt, one line per track: `<part>/<video>/frame%d_face<k>.<ext> start stride count label`
       (label 1 = FAKE), shuffled with a fixed seed. With n the number of frames of the video:

    val_30-39_train_alignedface_png    every part but 30-39                stride 30, ceil(n/30)
    val_30-39_val_alignedface_png      parts 30-39, at most 2 faces        stride 30, ceil(n/30)
    trainval_alignedface_png           all parts                           stride 30, ceil(n/30)
    trainval_alignedface_jpg           the same                            stride 1, n
    publicval_alignedface_png          the public-validation videos        stride 30, n//30
    publicval_sf_alignedface_jpg       the same                            stride 1, n
    all_videos_train_alignedface_jpg   originals not drawn for validation, at most 3 faces   stride 1, n
    all_videos_val_sf_alignedface_jpg  originals drawn for validation, at most 3 faces       stride 1, n

--public-val (Kaggle's sample_submission.csv) names the public-validation videos. They may lie in any folder below
--videos that has a metadata.json for them. They are in no list but publicval. trainval also leaves out all other videos
of their originals.

The all_videos split draws originals, and every fake follows its original. An original with k fakes is drawn for
validation with probability .65 (k up to 1), .44 (2), .21 (3), .10 (4), .04 (5), .02 (6), .01 (7), and never if k is
above 7. A hash of its name and the seed decides, so adding parts moves no video from one side to the other.

Any number of parts will do. A video in metadata.json that has no info.json is left out. The script then prints its name
and ends with exit status 1.

    python make_lists.py --videos DFDC-Kaggle --faces DFDC-Kaggle_Alignedface --lists DFDC-Kaggle_list
"""

import hashlib
import json
import math
import random
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from common.atomic import write_text
from common.errors import BadInputError
from common.labels import parse_label
from common.layout import read_filenames, safe_relative, subfolders
from common.script import run_script
from common.stage import folder_parser, record_failures

VAL_PROBABILITY = (0.65, 0.65, 0.44, 0.21, 0.10, 0.04, 0.02, 0.01)  # of an original with 0, 1, ... 7 fakes


class Video(NamedTuple):
    """A labelled video with its faces cut: part, name (no suffix), label, name of its original, frames, face tracks."""

    part: str
    name: str
    label: int
    original: str
    frames: int
    faces: int


class ListRule(NamedTuple):
    """One list: its name, which videos it holds, file type, stride, how many of n frames to take, faces per video."""

    file: str
    holds: Callable[[Video], bool]
    suffix: str
    stride: int
    count: Callable[[int], int]
    max_faces: int | None = None


def part_number(part: str) -> int | None:
    """The number at the end of a part's name, or None."""
    match = re.search(r"(\d+)$", part)
    return int(match[1]) if match else None


def drawn_for_validation(original: str, fakes: int, seed: int) -> bool:
    """Whether the all_videos split puts this original, with that number of fakes, on the validation side."""
    if fakes >= len(VAL_PROBABILITY):
        return False
    digest = hashlib.sha256(f"{seed}/{original}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < VAL_PROBABILITY[fakes]


def list_rules(videos: Iterable[Video], fakes: dict[str, int], public: set[str], seed: int) -> list[ListRule]:
    """The rules of the eight lists; `fakes` counts each original's fakes, `public` names public-validation videos."""
    public_originals = {video.original for video in videos if video.name in public}
    drawn = {original for original, count in fakes.items() if drawn_for_validation(original, count, seed)}

    def is_public(video: Video) -> bool:
        return video.name in public

    def apart_from_public(video: Video) -> bool:
        return video.original not in public_originals

    def in_30_39(video: Video) -> bool:
        return not is_public(video) and 30 <= (part_number(video.part) or 0) <= 39

    def not_in_30_39(video: Video) -> bool:
        return not is_public(video) and not in_30_39(video)

    def is_val(video: Video) -> bool:
        return not is_public(video) and video.original in drawn

    def is_train(video: Video) -> bool:
        return not is_public(video) and video.original not in drawn

    def all_frames(n: int) -> int:
        return n

    def every_30th(n: int) -> int:
        return math.ceil(n / 30)

    def whole_30s(n: int) -> int:
        return n // 30

    return [
        ListRule("val_30-39_train_alignedface_png", not_in_30_39, "png", 30, every_30th),
        ListRule("val_30-39_val_alignedface_png", in_30_39, "png", 30, every_30th, max_faces=2),
        ListRule("trainval_alignedface_png", apart_from_public, "png", 30, every_30th),
        ListRule("trainval_alignedface_jpg", apart_from_public, "jpg", 1, all_frames),
        ListRule("publicval_alignedface_png", is_public, "png", 30, whole_30s),
        ListRule("publicval_sf_alignedface_jpg", is_public, "jpg", 1, all_frames),
        ListRule("all_videos_train_alignedface_jpg", is_train, "jpg", 1, all_frames, max_faces=3),
        ListRule("all_videos_val_sf_alignedface_jpg", is_val, "jpg", 1, all_frames, max_faces=3),
    ]


SIDES = (("val_30-39_train_alignedface_png", "val_30-39_val_alignedface_png"),
         ("trainval_alignedface_jpg", "publicval_sf_alignedface_jpg"),
         ("all_videos_train_alignedface_jpg", "all_videos_val_sf_alignedface_jpg"))  # fmt: skip


def check_sides(videos: list[Video], rules: list[ListRule]) -> None:
    """Raise BadInputError, naming up to five, if originals (with their fakes) are on both sides of a split."""
    by_file = {rule.file: rule for rule in rules}
    for train, val in SIDES:
        both = {video.original for video in videos if by_file[train].holds(video)} & {
            video.original for video in videos if by_file[val].holds(video)
        }
        if both:
            raise BadInputError(f"{train} and {val} share {len(both)} originals: {', '.join(sorted(both)[:5])}")


def list_lines(videos: list[Video], rule: ListRule, seed: int) -> list[str]:
    """The lines of one list, shuffled. Tracks with too few frames for a line (count 0) are left out."""
    lines = [
        f"{video.part}/{video.name}/frame%d_face{face}.{rule.suffix} 1 {rule.stride} {count} {video.label}"
        for video in videos
        if rule.holds(video) and (count := rule.count(video.frames))
        for face in range(1, min(video.faces, rule.max_faces or video.faces) + 1)
    ]
    random.Random(f"{seed}/{rule.file}").shuffle(lines)
    return lines


def read_videos(videos: Path, faces: Path) -> tuple[list[Video], dict[str, int], dict[str, str]]:
    """Read all labelled videos below `videos`, with their faces.

    Returns the usable videos, in order; the number of fakes of each original, which counts all fakes in metadata.json,
    whether their faces are cut or not; and a reason for each `<part>/<video>` that cannot be used.
    """
    found: list[Video] = []
    fakes: dict[str, int] = {}
    failed: dict[str, str] = {}
    for part in subfolders(videos):
        if not (part / "metadata.json").is_file():
            continue
        for file, entry in sorted(read_metadata(part / "metadata.json").items()):
            name = Path(file).stem
            try:
                label, original = read_entry(entry, file, part / "metadata.json")
                fakes[original] = fakes.get(original, 0) + label
                frames, tracks = read_info(faces / part.name / name / "info.json")
            except BadInputError as error:
                failed[f"{part.name}/{name}"] = str(error)
            else:
                found.append(Video(part.name, name, label, original, frames, tracks))
    return found, fakes, failed


def read_metadata(path: Path) -> dict[str, dict[str, Any]]:
    """A part's metadata.json; raises BadInputError naming it if it is malformed or names a file outside the part."""
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadInputError(f"{path}: {error}") from error
    if not isinstance(metadata, dict) or not all(isinstance(entry, dict) for entry in metadata.values()):
        raise BadInputError(f'{path} is not a map from file names to {{"label": ...}}')
    for file in metadata:
        if Path(safe_relative(file)).name != file or "\n" in file:
            raise BadInputError(f"{path}: {file!r} is not a plain file name")
    return metadata


def read_entry(entry: dict[str, Any], file: str, path: Path) -> tuple[int, str]:
    """A video's label, and its original's name or, without one, its own. Raises BadInputError naming `path`."""
    try:
        return parse_label(entry.get("label")), Path(entry.get("original") or file).stem
    except BadInputError as error:
        raise BadInputError(f"{path}: {error}") from error


def read_info(path: Path) -> tuple[int, int]:
    """The numbers of frames and tracks in an info.json; raises BadInputError if it is missing or malformed."""
    if not path.is_file():
        raise BadInputError(f"{path} is missing: its faces are not cut yet")
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        return int(info["frames"]), len(info["tracks"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{path}: malformed ({error!r})") from error


def main() -> int:
    """Write the eight lists; return 1 if a labelled video is missing from them, else 0."""
    parser = folder_parser(__doc__, videos="DFDC-Kaggle", faces="DFDC-Kaggle_Alignedface", lists="DFDC-Kaggle_list")
    public_default = Path("inference/sample_submission.csv")
    parser.add_argument(
        "--public-val", type=Path, default=public_default, metavar="CSV", help=f"default: {public_default}"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the all_videos split and the order of lines (default: 0)"
    )
    options = parser.parse_args()
    if not options.videos.is_dir():
        raise FileNotFoundError(
            f"{options.videos} is not a folder; it should hold one folder with metadata.json per part"
        )
    videos, fakes, failed = read_videos(options.videos, options.faces)
    if not videos and not failed:
        raise FileNotFoundError(f"no <part>/metadata.json in {options.videos}")
    public = {Path(name).stem for name in read_filenames(options.public_val)}
    rules = list_rules(videos, fakes, public, options.seed)
    check_sides(videos, rules)
    for rule in rules:
        lines = list_lines(videos, rule, options.seed)
        write_text(options.lists / f"{rule.file}.txt", "".join(f"{line}\n" for line in lines))
        print(f"{rule.file}: {len(lines)} tracks, {sum(line.endswith(' 1') for line in lines)} fake")
    for name, reason in failed.items():
        print(f"make_lists: {name}: {reason}", file=sys.stderr)
    record_failures(options.lists, failed)
    print(f"make_lists: {len(videos)} videos done, {len(failed)} failed; {options.lists}")
    return 1 if failed else 0


if __name__ == "__main__":
    run_script(main)
