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

A fake whose original is not in any metadata.json is an orphan: nobody knows whose face it shows, so its person may be
on both sides of a split. Orphans are refused, public-validation videos aside. --orphans names the person of each, and
videos of one person stay on one side. --allow-orphans puts all orphans on the training side.

Any number of parts will do. A video that has no info.json, or an entry of metadata.json that makes no sense, is left
out. The script then prints its name, writes it to failed.json and ends with exit status 1.

    python make_lists.py --videos DFDC-Kaggle --faces DFDC-Kaggle_Alignedface --lists DFDC-Kaggle_list
"""

import csv
import hashlib
import json
import math
import random
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from common.command import run_script
from common.errors import BadInputError
from common.files import write_text
from common.folders import read_filenames, safe_relative, subfolders
from common.labels import parse_label
from common.stage import folder_parser, record_failures

VAL_PROBABILITY = (0.65, 0.65, 0.44, 0.21, 0.10, 0.04, 0.02, 0.01)  # of an original with 0, 1, ... 7 fakes


ORPHANS = ""  # the original of orphans that are let in: one for all


class Video(NamedTuple):
    """A labelled video with its faces cut: part, name (no suffix), label, name of its original, frames, face tracks.

    `test`: its metadata.json says that it is of a test split.
    """

    part: str
    name: str
    label: int
    original: str
    frames: int
    faces: int
    test: bool = False


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


def list_rules(
    videos: Iterable[Video], fakes: dict[str, int], public: set[str], seed: int, test_too: bool = True
) -> list[ListRule]:
    """The rules of the eight lists; `fakes` counts each original's fakes, `public` names public-validation videos.

    Without `test_too`, training lists leave out videos whose metadata.json says that they are of a test split.
    """
    public_originals = {video.original for video in videos if video.name in public}
    drawn = {original for original, count in fakes.items() if drawn_for_validation(original, count, seed)}

    def is_public(video: Video) -> bool:
        return video.name in public

    def apart_from_public(video: Video) -> bool:
        return video.original not in public_originals and may_train(video)

    def may_train(video: Video) -> bool:
        return test_too or not video.test

    def in_30_39(video: Video) -> bool:
        in_parts = 30 <= (part_number(video.part) or 0) <= 39
        return not is_public(video) and in_parts and video.original != ORPHANS

    def not_in_30_39(video: Video) -> bool:
        return not is_public(video) and not in_30_39(video) and may_train(video)

    def is_val(video: Video) -> bool:
        return not is_public(video) and video.original in drawn and video.original != ORPHANS

    def is_train(video: Video) -> bool:
        on_this_side = video.original not in drawn or video.original == ORPHANS
        return not is_public(video) and on_this_side and may_train(video)

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


class Found(NamedTuple):
    """What the metadata.json files hold: the usable videos, in order; each original's number of fakes, whether their
    faces are cut or not; the names of all videos; and a reason for each `<part>/<video>` that cannot be used.
    """

    videos: list[Video]
    fakes: dict[str, int]
    names: set[str]
    failed: dict[str, str]


def read_videos(videos: Path, faces: Path) -> Found:
    """Read all labelled videos below `videos`, with their faces."""
    found: list[Video] = []
    fakes: dict[str, int] = {}
    names: set[str] = set()
    failed: dict[str, str] = {}
    for part in subfolders(videos):
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
                found.append(Video(part.name, name, label, original, frames, tracks, test))
    return Found(found, fakes, names, failed)


def read_metadata(path: Path) -> dict[str, Any]:
    """A part's metadata.json; raises BadInputError naming it if it is malformed or names a file outside the part."""
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
    """A video's label, and its original's name or, without one, its own. Raises BadInputError naming `path`."""
    if not isinstance(entry, dict):
        raise BadInputError(f'{path}: the entry of {file!r} is {entry!r}, not {{"label": ...}}')
    original = entry.get("original")
    if original is not None and not isinstance(original, str):
        raise BadInputError(f"{path}: the original of {file!r} is {original!r}, not a name")
    for name in (path.parent.name, file, original or ""):
        if "\n" in name or printable(name) != name:
            raise BadInputError(f"{path}: the name {name!r} cannot stand in a list")
    try:
        return parse_label(entry.get("label")), Path(original or file).stem
    except BadInputError as error:
        raise BadInputError(f"{path}: {file!r}: {error}") from error


def printable(text: str) -> str:
    """The text with a backslash and its number for every character that is in no encoding."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def orphans_of(found: Found, public: set[str]) -> list[Video]:
    """The fakes, public-validation videos aside, whose original is not among the names of all videos."""
    fakes = [video for video in found.videos if video.label and video.name not in public]
    return [video for video in fakes if video.original == video.name or video.original not in found.names]


def read_persons(path: Path) -> dict[str, str]:
    """The person of each video by its name (no suffix), from a CSV `filename,person`. Raises BadInputError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if not {"filename", "person"} <= set(rows.fieldnames or ()):
                raise BadInputError(f"{path} needs the columns filename and person")
            return {Path(row["filename"]).stem: row["person"] for row in rows if row["filename"] and row["person"]}
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path} is not UTF-8: {error}") from error


def with_persons(found: Found, orphans: list[Video], persons: dict[str, str] | None, allow: bool) -> Found:
    """What was found, with each orphan's person as its original; also of other videos whose person is given.

    `allow` gives all orphans that are left one original. Raises BadInputError naming up to five orphans if neither
    helps.
    """
    missing = [video for video in orphans if persons is None or video.name not in persons]
    if missing and not allow:
        raise BadInputError(
            f"{len(missing)} fakes have no original in any metadata.json, as "
            f"{', '.join(f'{video.part}/{video.name}' for video in missing[:5])}: their persons may be on both sides. "
            "--orphans FILE names their persons, --allow-orphans puts them all on the training side"
        )
    changed = dict.fromkeys(missing, ORPHANS)
    known, lost = persons or {}, set(orphans)
    for video in found.videos:
        # A fake follows its original: a row of its own counts only if it is an orphan.
        own = video.name if video in lost or not video.label else video.original
        if own in known:
            changed[video] = known[own]
    fakes = dict(found.fakes)
    for video, person in changed.items():
        fakes[video.original] -= video.label
        fakes[person] = fakes.get(person, 0) + video.label
    return found._replace(
        videos=[video._replace(original=changed.get(video, video.original)) for video in found.videos],
        fakes={original: count for original, count in fakes.items() if original or count},
    )


def read_info(path: Path) -> tuple[int, int]:
    """The numbers of frames and tracks in an info.json; raises BadInputError if it is missing or malformed."""
    try:
        if not path.is_file():
            raise BadInputError(f"{path} is missing: its faces are not cut yet")
        info = json.loads(path.read_text(encoding="utf-8"))
        return int(info["frames"]), len(info["tracks"])
    except OSError as error:  # a name that is too long, for example
        raise BadInputError(f"{path}: {error.strerror}") from error
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
    orphans = parser.add_mutually_exclusive_group()
    orphans.add_argument(
        "--orphans", type=Path, metavar="CSV", help="the persons of fakes without an original: filename,person"
    )
    orphans.add_argument(
        "--allow-orphans", action="store_true", help="put all fakes without an original on the training side"
    )
    parser.add_argument(
        "--leave-out-test", action="store_true", help='keep videos of "split": "test" out of the training lists'
    )
    options = parser.parse_args()
    if not options.videos.is_dir():
        raise FileNotFoundError(
            f"{options.videos} is not a folder; it should hold one folder with metadata.json per part"
        )
    found = read_videos(options.videos, options.faces)
    if not found.videos and not found.failed:
        raise FileNotFoundError(f"no <part>/metadata.json in {options.videos}")
    public = {Path(name).stem for name in read_filenames(options.public_val)}
    lost = orphans_of(found, public)
    persons = read_persons(options.orphans) if options.orphans else None
    videos, fakes, _, failed = with_persons(found, lost, persons, options.allow_orphans)
    if lost:
        print(f"make_lists: {len(lost)} fakes have no original in any metadata.json")
    if test := sum(video.test for video in videos):
        where = "left out of the training lists" if options.leave_out_test else "listed as all others"
        print(f'make_lists: {test} videos say "split": "test": {where}')
    rules = list_rules(videos, fakes, public, options.seed, test_too=not options.leave_out_test)
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
