"""Stage 4: the eight lists of face tracks that training and validation read.

Reads  DFDC-Kaggle/<part>/metadata.json
       DFDC-Kaggle_Alignedface/<part>/<video>/info.json
       inference/sample_submission.csv
Writes DFDC-Kaggle_list/*.txt, one line per track: `<part>/<video>/frame%d_face<k>.<ext> start stride count label`
       (label 1 = FAKE), shuffled with a fixed seed. n is the number of frames of the video:

    val_30-39_train_alignedface_png    every part but 30-39                stride 30, ceil(n/30)
    val_30-39_val_alignedface_png      parts 30-39, at most 2 faces        stride 30, ceil(n/30)
    trainval_alignedface_png           all parts                           stride 30, ceil(n/30)
    trainval_alignedface_jpg           the same                            stride 1, n
    publicval_alignedface_png          the public-validation videos        stride 30, n//30
    publicval_sf_alignedface_jpg       the same                            stride 1, n
    all_videos_train_alignedface_jpg   originals not drawn for validation, at most 3 faces   stride 1, n
    all_videos_val_sf_alignedface_jpg  originals drawn for validation, at most 3 faces       stride 1, n

--public-val (Kaggle's sample_submission.csv) names the public-validation videos. They may lie in any folder below
--videos that has a metadata.json for them. They are in the publicval lists only. trainval also leaves out all other
videos of their originals.

The all_videos split draws originals, and every fake follows its original. An original with k fakes is drawn for
validation with probability 0.65 (k up to 1), 0.44 (2), 0.21 (3), 0.10 (4), 0.04 (5), 0.02 (6), 0.01 (7), and never if k
is above 7. A hash of its name and the seed decides, so adding parts moves no video from one side to the other.

A fake whose original is not in any metadata.json is an orphan. Nobody knows whose face it shows, so its person may be
on both sides of a split. Orphans are refused, except public-validation videos. --orphans names the person of each, and
videos of the same person stay on one side. --allow-orphans puts all orphans on the training side.

Any number of parts will do. A video without an info.json, or with a wrong entry in metadata.json, is left out. The
script then prints its name, writes it to failed.json and ends with exit status 1.

    python make_lists.py --videos DFDC-Kaggle --faces DFDC-Kaggle_Alignedface --lists DFDC-Kaggle_list
"""

import argparse
import hashlib
import math
import random
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from common.command import run_script
from common.errors import BadInputError
from common.files import write_text
from common.folders import read_filenames
from common.stage import folder_parser, record_failures
from preprocessing.labels import (
    ORPHANS,
    LabelledVideo,
    Metadata,
    find_orphans,
    read_persons,
    read_videos,
    with_persons,
)

VAL_PROBABILITY = (0.65, 0.65, 0.44, 0.21, 0.10, 0.04, 0.02, 0.01)  # of an original with 0, 1, ... 7 fakes


class ListRule(NamedTuple):
    """How one of the lists is made."""

    file: str  # the list's name, without suffix
    holds: Callable[[LabelledVideo], bool]
    suffix: str  # of the crops
    stride: int
    count: Callable[[int], int]  # frames to take from a video of n frames
    max_faces: int | None = None  # per video


def part_number(part: str) -> int | None:
    """The number at the end of a part's name, or None."""
    match = re.search(r"(\d+)$", part)
    return int(match[1]) if match else None


def drawn_for_validation(original: str, fakes: int, seed: int) -> bool:
    """Whether the all_videos split puts an original with this number of fakes on the validation side."""
    if fakes >= len(VAL_PROBABILITY):
        return False
    digest = hashlib.sha256(f"{seed}/{original}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < VAL_PROBABILITY[fakes]


def list_rules(
    videos: Iterable[LabelledVideo], fakes: dict[str, int], public: set[str], seed: int, train_on_test: bool = True
) -> list[ListRule]:
    """The rules of the eight lists. `fakes` counts each original's fakes, `public` names public-validation videos.

    Without `train_on_test`, training lists leave out videos that their metadata.json assigns to a test split.
    """
    public_originals = {video.original for video in videos if video.name in public}
    drawn = {original for original, count in fakes.items() if drawn_for_validation(original, count, seed)}

    def is_public(video: LabelledVideo) -> bool:
        return video.name in public

    def apart_from_public(video: LabelledVideo) -> bool:
        return video.original not in public_originals and may_train(video)

    def may_train(video: LabelledVideo) -> bool:
        return train_on_test or not video.test

    def in_30_39(video: LabelledVideo) -> bool:
        in_parts = 30 <= (part_number(video.part) or 0) <= 39
        return not is_public(video) and in_parts and video.original != ORPHANS

    def not_in_30_39(video: LabelledVideo) -> bool:
        return not is_public(video) and not in_30_39(video) and may_train(video)

    def is_val(video: LabelledVideo) -> bool:
        return not is_public(video) and video.original in drawn and video.original != ORPHANS

    def is_train(video: LabelledVideo) -> bool:
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


# The training and the validation list of each split.
SIDES = (("val_30-39_train_alignedface_png", "val_30-39_val_alignedface_png"),
         ("trainval_alignedface_jpg", "publicval_sf_alignedface_jpg"),
         ("all_videos_train_alignedface_jpg", "all_videos_val_sf_alignedface_jpg"))  # fmt: skip


def check_sides(videos: list[LabelledVideo], rules: list[ListRule]) -> None:
    """Raise BadInputError, which names up to five of them, if originals are on both sides of a split."""
    originals = {rule.file: {video.original for video in videos if rule.holds(video)} for rule in rules}
    for train, val in SIDES:
        if both := originals[train] & originals[val]:
            raise BadInputError(f"{train} and {val} share {len(both)} originals: {', '.join(sorted(both)[:5])}")


def list_lines(videos: list[LabelledVideo], rule: ListRule, seed: int) -> list[str]:
    """The shuffled lines of a list, without tracks that have too few frames for a line (count 0)."""
    lines = [
        f"{video.part}/{video.name}/frame%d_face{face}.{rule.suffix} 1 {rule.stride} {count} {video.label}"
        for video in videos
        if rule.holds(video) and (count := rule.count(video.frames))
        for face in range(1, min(video.faces, rule.max_faces or video.faces) + 1)
    ]
    random.Random(f"{seed}/{rule.file}").shuffle(lines)
    return lines


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = folder_parser(__doc__, videos="DFDC-Kaggle", faces="DFDC-Kaggle_Alignedface", lists="DFDC-Kaggle_list")
    public = Path("inference/sample_submission.csv")
    parser.add_argument("--public-val", type=Path, default=public, metavar="CSV", help=f"default: {public}")
    seed = "of the all_videos split and the order of lines (default: 0)"
    parser.add_argument("--seed", type=int, default=0, help=seed)
    orphans = parser.add_mutually_exclusive_group()
    persons = "the persons of fakes without an original: filename,person"
    orphans.add_argument("--orphans", type=Path, metavar="CSV", help=persons)
    allow = "put all fakes without an original on the training side"
    orphans.add_argument("--allow-orphans", action="store_true", help=allow)
    test = 'keep videos of "split": "test" out of the training lists'
    parser.add_argument("--leave-out-test", action="store_true", help=test)
    return parser.parse_args()


def read_all(options: argparse.Namespace, public: set[str]) -> Metadata:
    """Read the videos, and give orphans an original as the options ask. Raises BadInputError or FileNotFoundError."""
    if not options.videos.is_dir():
        raise FileNotFoundError(
            f"{options.videos} is not a folder; it should hold a folder with metadata.json per part"
        )
    metadata = read_videos(options.videos, options.faces)
    if not metadata.videos and not metadata.failed:
        raise FileNotFoundError(f"no <part>/metadata.json in {options.videos}")
    orphans = find_orphans(metadata, public)
    persons = read_persons(options.orphans) if options.orphans else None
    metadata = with_persons(metadata, orphans, persons, options.allow_orphans)
    if orphans:
        print(f"make_lists: {len(orphans)} fakes have no original in any metadata.json")
    if test := sum(video.test for video in metadata.videos):
        where = "left out of the training lists" if options.leave_out_test else "listed like all others"
        print(f'make_lists: {test} videos have "split": "test": {where}')
    return metadata


def main() -> int:
    """Write the eight lists; return 1 if a labelled video is missing from them, else 0."""
    options = parse_arguments()
    public = {Path(name).stem for name in read_filenames(options.public_val)}
    videos, fakes, _, failed = read_all(options, public)
    rules = list_rules(videos, fakes, public, options.seed, train_on_test=not options.leave_out_test)
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
