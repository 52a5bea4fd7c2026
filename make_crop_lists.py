"""Stage 4 for ready-made face crops: unpack them and write the lists that training and validation read.

Reads  <crops>/*.csv: tables with a row per video: its split (train or val), part, video, label, original, and what
       else is known (method, race, age, gender); a part that is a number is one of DFDC's
       <crops>/*.tar: one picture `<part folder>/<video>/frame1_face1.jpg` (or photo.jpg) per video; a part that no
       table names holds real photos of one person each
Writes DFDC-Kaggle_Alignedface/<part>/<video>/frame1_face1.jpg
       DFDC-Kaggle_list/<set>_train.txt and .csv, <set>_val.txt and .csv, <set>_pairs.txt, <set>_blend.txt
       DFDC-Kaggle_list/landmarks.csv

DFDC's set is called faces224, another set as its part. A hash of the original divides the val split of DFDC into
halves: `calibration` to fit a temperature on, `test` to report on. They take the place of `val`.

The .txt files have lines as make_lists.py writes them. The .csv files (filename,label,original,subset and the tables'
other columns) are the truth for `python -m quality.evaluate`. `pairs` holds the fakes of the train split, each followed
by its original's crop, for configs with `together: 2`. `blend` holds the real crops of the train split in which a face
was found, to make fakes of (training/blend.py); `landmarks.csv` says where. An original in both train and val, be it of
two sets, is an error. Running again unpacks, and looks for faces in, only what is new.

Pictures of whole heads (--whole-heads) are cut to the square around the face that the other crops show: .65 of the side
of the contract's crop. Those without a face are left out and counted.

    python make_crop_lists.py --crops CROPS
"""

import csv
import hashlib
import random
import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from common.command import run_script
from common.errors import BadInputError
from common.files import atomic_file, sync_all_in, write_table, write_text
from common.folders import safe_relative
from common.images import decode_image, encode_image
from common.labels import parse_label
from common.landmarks import LANDMARKS, read_landmarks, write_landmarks
from common.stage import folder_parser
from common.workers import cores, progress
from faces.detector import FaceDetector, default_weights
from faces.tight_crops import find_landmarks, tight_face

CROP, PHOTO = "frame1_face1.jpg", "photo.jpg"
COLUMNS = ("split", "part", "video", "label", "original")
DFDC = "faces224"
UNNAMED_VAL = 5  # of so many photos that no table names, one is in val


@dataclass(frozen=True, order=True)
class Crop:
    """A video's crop: its folder `<part>/<video>` below the faces, its label (1 FAKE), its original, its split.

    `known` holds the table's other columns as (name, value).
    """

    folder: str
    label: int
    original: str
    split: str
    known: tuple[tuple[str, str], ...] = ()

    @property
    def set(self) -> str:
        """`faces224` for DFDC, else the part."""
        part = self.folder.partition("/")[0]
        return DFDC if part.startswith("dfdc_train_part_") else part

    @property
    def list(self) -> str:
        """The list that it is in: train, val, or for DFDC's val split its half."""
        return half(self.original) if self.set == DFDC and self.split == "val" else self.split

    @property
    def path(self) -> str:
        """The crop's path below the folder of faces."""
        return f"{self.folder}/{CROP}"

    @property
    def line(self) -> str:
        """The crop's line, as in a list of make_lists.py."""
        return f"{self.folder}/{CROP.replace('1', '%d', 1)} 1 1 1 {self.label}\n"


def half(original: str) -> str:
    """The half of DFDC's val split that holds an original and its fakes: `calibration` or `test`."""
    return "calibration" if hashlib.sha256(original.encode()).digest()[0] < 128 else "test"


def read_tables(crops: Path) -> list[Crop]:
    """The crops in all tables of a folder, one per row; a video without an original is its own original.

    Raises BadInputError for an unknown split or label, a name that points outside its folder, an original in both train
    and val, or a folder without tables.
    """
    found: dict[str, Crop] = {}
    sides: dict[str, str] = {}
    for table in sorted(crops.glob("*.csv")):
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if missing := [column for column in COLUMNS if column not in (rows.fieldnames or ())]:
                raise BadInputError(f"{table} has no column {', '.join(missing)}")
            for row in rows:
                try:
                    crop = read_crop(row)
                    if found.setdefault(crop.folder, crop) is not crop:
                        raise BadInputError(f"{crop.folder} stands in the tables twice")
                    if sides.setdefault(crop.original, crop.split) != crop.split:
                        raise BadInputError(f"the original {crop.original} is on both sides of the split")
                except BadInputError as error:
                    raise BadInputError(f"{table}:{rows.line_num}: {error}") from error
    if not found:
        raise BadInputError(f"{crops} holds no table (*.csv) of crops")
    return list(found.values())


def read_crop(row: dict[str, str]) -> Crop:
    """The crop of one row of a table. Raises BadInputError for an unknown split or label, or an unsafe name."""
    split, part, video, label, original = (row[column] for column in COLUMNS)
    if split not in ("train", "val"):
        raise BadInputError(f"split {split!r} is neither train nor val")
    folder = safe_relative(f"{f'dfdc_train_part_{part}' if part.isdecimal() else part}/{video}")
    known = tuple((name, value or "") for name, value in row.items() if name and name not in COLUMNS)
    return Crop(folder, parse_label(label), original or video, split, known)


def unnamed(folder: str) -> Crop:
    """The crop of a photo that no table names: real, its own original, one in five in val. Raises BadInputError."""
    video = safe_relative(folder).rpartition("/")[2]
    side = "val" if hashlib.sha256(folder.encode()).digest()[0] % UNNAMED_VAL == 0 else "train"
    return Crop(folder, 0, video, side)


def unpack(archive: Path, crops: dict[str, Crop], faces: Path, cutter: "Cutter") -> Iterator[Crop]:
    """Write an archive's crops that are not on disk yet; yield each that is there then.

    These are the crops of `crops` (by folder), and photos of parts that `crops` does not hold. Photos of whole heads
    are cut by the cutter.
    """
    parts = {folder.partition("/")[0] for folder in crops}
    with tarfile.open(archive) as file:
        for member in file:
            folder, _, name = member.name.removeprefix("./").rpartition("/")  # `tar cf x.tar .` writes ./
            content = file.extractfile(member) if member.isfile() else None
            known = folder in crops or (folder.count("/") == 1 and folder.partition("/")[0] not in parts | {".."})
            if name not in (CROP, PHOTO) or content is None or not known:
                continue
            crop = crops.get(folder) or unnamed(folder)
            path = faces / crop.path
            if not path.is_file() or not path.stat().st_size:  # a power cut may have left an empty one
                picture = cutter.picture(crop, content.read())
                if picture is None:
                    continue
                with atomic_file(path, synced=False) as temporary:
                    temporary.write_bytes(picture)
            yield crop


@dataclass
class Cutter:
    """Cuts photos of whole heads, and remembers those without a face."""

    detector: FaceDetector
    sets: frozenset[str]
    left_out: list[Crop]

    def picture(self, crop: Crop, content: bytes) -> bytes | None:
        """The bytes of a crop's file: as they are, or of a whole head its face; None if there is none."""
        if crop.set not in self.sets:
            return content
        image = decode_image(np.frombuffer(content, np.uint8), Path(crop.path))
        face = tight_face(self.detector, image)
        if face is None:
            self.left_out.append(crop)
            return None
        return encode_image(face, ".jpg")


def all_landmarks(crops: list[Crop], faces: Path, detector: FaceDetector, table: Path) -> dict[str, np.ndarray]:
    """The landmarks of crops by their path; those that the table lacks are looked for, and written there."""
    known = read_landmarks(table) if table.is_file() else {}
    missing = [crop.path for crop in crops if crop.path not in known]
    with (
        ThreadPoolExecutor(cores()) as pool,
        progress(total=len(missing), desc="landmarks", unit="crop") as bar,
    ):
        for path, found in zip(
            missing, pool.map(partial(find_landmarks, detector), map(faces.joinpath, missing)), strict=True
        ):
            known[path] = found
            bar.update()
    if missing:
        write_landmarks(table, known)
    return {crop.path: points for crop in crops if (points := known[crop.path]) is not None}


def pairs_of(crops: Iterable[Crop]) -> Iterator[tuple[Crop, Crop]]:
    """Yield each fake with each real crop of its original, in sorted order; a fake without one is left out."""
    ordered = sorted(crops)
    originals: dict[str, list[Crop]] = {}
    for crop in ordered:
        if not crop.label:
            originals.setdefault(crop.original, []).append(crop)
    for crop in ordered:
        if crop.label:
            yield from ((crop, real) for real in originals.get(crop.original, ()))


def write_lists(crops: list[Crop], landmarks: dict[str, np.ndarray], lists: Path, seed: int) -> None:
    """Write the lists of each set, shuffled, with their truth, and the lists of pairs and of crops to blend."""
    for name, part in sorted({(crop.set, crop.list) for crop in crops}):
        mine = sorted(crop for crop in crops if (crop.set, crop.list) == (name, part))
        file = f"{name}_{part}"
        random.Random(f"{seed}/{part}").shuffle(mine)
        write_text(lists / f"{file}.txt", "".join(crop.line for crop in mine))
        write_table(lists / f"{file}.csv", truth_of(mine))
        print(f"{file}: {len(mine)} crops, {sum(crop.label for crop in mine)} fake")
    train = [crop for crop in crops if crop.split == "train"]
    for name in sorted({crop.set for crop in train}):
        mine = [crop for crop in train if crop.set == name]
        pairs = list(pairs_of(mine))
        random.Random(f"{seed}/pairs").shuffle(pairs)
        blend = sorted(crop for crop in mine if crop.path in landmarks)
        for kind, lines in (
            ("pairs", [fake.line + real.line for fake, real in pairs]),
            ("blend", [crop.line for crop in blend]),
        ):
            if lines:
                write_text(lists / f"{name}_{kind}.txt", "".join(lines))
                print(f"{name}_{kind}: {len(lines)}")


def truth_of(crops: list[Crop]) -> list[tuple[object, ...]]:
    """The rows of a list's truth, with its heading."""
    names = list(dict.fromkeys(name for crop in crops for name, _ in crop.known))
    heading = ("filename", "label", "original", "subset", *names)
    known = [dict(crop.known) for crop in crops]
    rows = [
        (crop.path, crop.label, crop.original, crop.folder.partition("/")[0], *(mine.get(name, "") for name in names))
        for crop, mine in zip(crops, known, strict=True)
    ]
    return [heading, *rows]


def main() -> int:
    """Unpack the crops, find landmarks, write the lists; an archive that lacks a crop of a table is an error."""
    parser = folder_parser(__doc__, faces="DFDC-Kaggle_Alignedface", lists="DFDC-Kaggle_list")
    parser.add_argument(
        "--crops", type=Path, required=True, metavar="DIR", help="the folder of the tables and the archives"
    )
    parser.add_argument(
        "--whole-heads",
        default="lfw,inswapper",
        metavar="A,B",
        help="sets whose pictures are cut to the face (default: lfw,inswapper)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order of lines (default: 0)")
    options = parser.parse_args()
    wanted = {crop.folder: crop for crop in read_tables(options.crops)}
    detector = FaceDetector(default_weights())
    cutter = Cutter(detector, frozenset(options.whole_heads.split(",")), [])
    found: dict[str, Crop] = {}
    with progress(desc="make_crop_lists", unit="crop") as bar:
        for archive in sorted(options.crops.glob("*.tar")):
            for crop in unpack(archive, wanted, options.faces, cutter):
                found[crop.folder] = crop
                bar.update()
    if found:
        sync_all_in(options.faces)
    missing = wanted.keys() - found.keys() - {crop.folder for crop in cutter.left_out}
    if missing:
        raise BadInputError(
            f"{len(missing)} crops of the tables are in no archive of {options.crops}: {', '.join(sorted(missing)[:3])}"
        )
    crops = list(found.values())
    real = sorted(crop for crop in crops if crop.split == "train" and not crop.label)
    landmarks = all_landmarks(real, options.faces, detector, options.lists / LANDMARKS)
    write_lists(crops, landmarks, options.lists, options.seed)
    if cutter.left_out:
        print(f"left out, no face: {len(cutter.left_out)}, as {cutter.left_out[0].folder}")
    print(f"faces to blend: {len(landmarks)} of {len(real)} real crops show one whole")
    print(f"make_crop_lists: {len(crops)} crops done; {options.faces}, {options.lists}")
    return 0


if __name__ == "__main__":
    run_script(main)
