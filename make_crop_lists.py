"""Stage 4 for ready-made face crops: unpack them and write the lists that training and validation read.

Reads  <crops>/faces.csv: a row per video with its split (train or val), part, video, label, original
       <crops>/*.tar: one crop `<part folder>/<video>/frame1_face1.jpg` per video
Writes DFDC-Kaggle_Alignedface/<part>/<video>/frame1_face1.jpg
       DFDC-Kaggle_list/faces224_{train,calibration,test}.txt and .csv
       DFDC-Kaggle_list/faces224_pairs.txt

A hash of the original divides the val split into halves: `calibration` to fit a temperature on, `test` to report on.
The .txt files have lines as make_lists.py writes them. The .csv files (filename,label,original,subset) are the truth
for `python -m quality.evaluate`. `pairs` holds the fakes of the train split, each followed by its original's crop, for
configs with `together: 2`. An original in both train and val is an error. Running again unpacks only what is missing.

    python make_crop_lists.py --crops CROPS
"""

import csv
import hashlib
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from common.atomic import atomic_file, write_table, write_text
from common.errors import BadInputError
from common.labels import parse_label
from common.layout import safe_relative
from common.stage import folder_parser, progress, run_script

CROP = "frame1_face1.jpg"
COLUMNS = ("split", "part", "video", "label", "original")


class Crop(NamedTuple):
    """A video's crop: its folder `<part>/<video>` below the faces, its label (1 FAKE), its original, its list."""

    folder: str
    label: int
    original: str
    list: str

    @property
    def path(self) -> str:
        """The crop's path below the folder of faces."""
        return f"{self.folder}/{CROP}"

    @property
    def line(self) -> str:
        """The crop's line, as in a list of make_lists.py."""
        return f"{self.folder}/{CROP.replace('1', '%d', 1)} 1 1 1 {self.label}\n"


def half(original: str) -> str:
    """The half of the val split that holds an original and its fakes: `calibration` or `test`."""
    return "calibration" if hashlib.sha256(original.encode()).digest()[0] < 128 else "test"


def read_crops(faces_csv: Path) -> list[Crop]:
    """The crops in faces.csv, one per row; a video without an original is its own original.

    Raises BadInputError for an unknown split or label, a name that points outside its folder, or an original in both
    train and val.
    """
    crops: list[Crop] = []
    sides: dict[str, str] = {}
    with faces_csv.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if missing := [column for column in COLUMNS if column not in (rows.fieldnames or ())]:
            raise BadInputError(f"{faces_csv} has no column {', '.join(missing)}")
        for row in rows:
            try:
                crop = read_crop(row)
            except BadInputError as error:
                raise BadInputError(f"{faces_csv}:{rows.line_num}: {error}") from error
            if sides.setdefault(crop.original, row["split"]) != row["split"]:
                where = f"{faces_csv}:{rows.line_num}"
                raise BadInputError(f"{where}: the original {crop.original} is on both sides of the split")
            crops.append(crop)
    return crops


def read_crop(row: dict[str, str]) -> Crop:
    """The crop of one row of faces.csv. Raises BadInputError for an unknown split or label, or an unsafe name."""
    split, part, video, label, original = (row[column] for column in COLUMNS)
    if split not in ("train", "val"):
        raise BadInputError(f"split {split!r} is neither train nor val")
    original = original or video
    folder = safe_relative(f"dfdc_train_part_{part}/{video}")
    return Crop(folder, parse_label(label), original, "train" if split == "train" else half(original))


def unpack(archive: Path, wanted: set[str], faces: Path) -> Iterator[str]:
    """Write an archive's wanted crops that are not on disk yet; yield the name of each wanted crop that it holds."""
    with tarfile.open(archive) as file:
        for member in file:
            name = member.name.removeprefix("./")  # as `tar cf x.tar .` writes them
            content = file.extractfile(member) if member.isfile() else None
            if name not in wanted or content is None:
                continue
            path = faces / name
            if not path.is_file():
                with atomic_file(path) as temporary:
                    temporary.write_bytes(content.read())
            yield name


def pairs_of(crops: list[Crop]) -> Iterator[tuple[Crop, Crop]]:
    """Yield each fake with its original, in sorted order; fakes without their original are left out."""
    originals = {crop.original: crop for crop in crops if not crop.label}
    for crop in sorted(crops):
        if crop.label and crop.original in originals:
            yield crop, originals[crop.original]


def write_lists(crops: list[Crop], lists: Path, seed: int) -> None:
    """Write the lists of training and validation, shuffled, with their truth, and the list of pairs."""
    for name in ("train", "calibration", "test"):
        mine = sorted(crop for crop in crops if crop.list == name)
        random.Random(f"{seed}/{name}").shuffle(mine)
        write_text(lists / f"faces224_{name}.txt", "".join(crop.line for crop in mine))
        truth = [(crop.path, crop.label, crop.original, crop.folder.partition("/")[0]) for crop in mine]
        write_table(lists / f"faces224_{name}.csv", [("filename", "label", "original", "subset"), *truth])
        print(f"faces224_{name}: {len(mine)} crops, {sum(crop.label for crop in mine)} fake")
    pairs = list(pairs_of([crop for crop in crops if crop.list == "train"]))
    random.Random(f"{seed}/pairs").shuffle(pairs)
    write_text(lists / "faces224_pairs.txt", "".join(fake.line + real.line for fake, real in pairs))
    print(f"faces224_pairs: {len(pairs)} pairs")


def main() -> int:
    """Unpack the crops and write their lists; an archive that lacks a crop of faces.csv is an error."""
    parser = folder_parser(__doc__, faces="DFDC-Kaggle_Alignedface", lists="DFDC-Kaggle_list")
    parser.add_argument(
        "--crops", type=Path, required=True, metavar="DIR", help="the folder of faces.csv and the archives"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order of lines (default: 0)")
    options = parser.parse_args()
    crops = read_crops(options.crops / "faces.csv")
    wanted = {crop.path for crop in crops}
    with progress(total=len(wanted), desc="make_crop_lists", unit="crop") as bar:
        for archive in sorted(options.crops.glob("*.tar")):
            for name in unpack(archive, wanted, options.faces):
                wanted.discard(name)
                bar.update()
    if wanted:
        raise BadInputError(
            f"{len(wanted)} crops of faces.csv are in no archive of {options.crops}: {', '.join(sorted(wanted)[:3])}"
        )
    write_lists(crops, options.lists, options.seed)
    print(f"make_crop_lists: {len(crops)} crops done; {options.faces}, {options.lists}")
    return 0


if __name__ == "__main__":
    run_script(main)
