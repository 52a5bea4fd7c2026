"""Stage 4 for precropped faces: unpack crops and write the lists that training and validation read.

Reads  <crops>/*.csv: tables with a row per video: its split (train or val), part, video, label, original, and what
       else is known (method, race, age, gender); a part that is a number is one of DFDC's
       <crops>/*.tar, or <crops> itself: one picture `<part folder>/<video>/frame1_face1.jpg` (or photo.jpg) per video;
       a part that no table names holds real photos of one person each
Writes DFDC-Kaggle_Alignedface/<part>/<video>/frame1_face1.jpg
       DFDC-Kaggle_list/<set>_train.txt and .csv, <set>_val.txt and .csv, <set>_pairs.txt, <set>_blend.txt
       DFDC-Kaggle_list/landmarks.csv

DFDC's set is called faces224, any other set like its part. A hash of the original divides the val split of DFDC into
halves: `calibration` to fit a temperature on, `test` to report on. They take the place of `val`.

The .txt files have lines like those of make_lists.py. The .csv files (filename,label,original,subset and the tables'
other columns) are the truth for `python -m quality.evaluate`. `pairs` holds the fakes of the train split, each followed
by its original's crop, whatever set that is in, for configs with `together: 2`. `blend` holds the real crops of the
train split in which a face was found, to make fakes of (training/blend.py); `landmarks.csv` says where. An original in
both train and val, even in two different sets, is an error. Running again unpacks only new crops, and looks for faces
only in them.

Pictures of whole heads (--whole-heads) are cut to the square around the face that the other crops show. Its side is
0.65 of that of the reference's crop. Pictures without a face are left out and counted.

    python make_crop_lists.py --crops CROPS [MORE_CROPS ...]
"""

import hashlib
import random
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from common.command import cores, run_script
from common.errors import BadInputError
from common.files import atomic_file, is_written, sync_all_in, write_table, write_text
from common.folders import safe_relative
from common.images import decode_image, encode_image
from common.labels import parse_label
from common.landmarks import LANDMARKS, read_landmarks, write_landmarks
from common.stage import folder_parser
from common.tables import read_table
from common.workers import progress
from faces.detector import FaceDetector, default_weights
from faces.tight_crops import find_landmarks, tight_face

CROP, PHOTO = "frame1_face1.jpg", "photo.jpg"
COLUMNS = ("split", "part", "video", "label", "original")
DFDC = "faces224"
UNNAMED_VAL = 5  # one in this many of the photos that no table names is in val


@dataclass(frozen=True, order=True)
class LabelledCrop:
    """The crop of a video: its folder `<part>/<video>` below the faces, its label (1 FAKE), its original, its split.

    `known` holds the other columns of the table as (name, value).
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
        """The list that holds the crop: train, val, or the half of DFDC's val split."""
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


def read_tables(sources: Sequence[Path]) -> list[LabelledCrop]:
    """The crops in all tables of some folders, one per row. A video without an original is its own original.

    Raises BadInputError for a missing column, an unknown split or label, a name that points outside its folder, a video
    with two rows, an original in both train and val, or folders without tables.
    """
    found: dict[str, LabelledCrop] = {}
    sides: dict[str, str] = {}
    for table in (table for source in sources for table in sorted(source.glob("*.csv"))):
        for line, row in read_table(table, COLUMNS, errors="strict"):
            try:
                crop = read_row(row)
                if found.setdefault(crop.folder, crop) is not crop:
                    raise BadInputError(f"{crop.folder} is in the tables twice")
                if sides.setdefault(crop.original, crop.split) != crop.split:
                    raise BadInputError(f"the original {crop.original} is on both sides of the split")
            except BadInputError as error:
                raise BadInputError(f"{table}:{line}: {error}") from error
    if not found:
        raise BadInputError(f"{named(sources)} holds no table (*.csv) of crops")
    return list(found.values())


def read_row(row: dict[str, str]) -> LabelledCrop:
    """The crop of a row of a table. Raises BadInputError for an unknown split or label, or an unsafe name."""
    split, part, video, label, original = (row[column] for column in COLUMNS)
    if split not in ("train", "val"):
        raise BadInputError(f"split {split!r} is neither train nor val")
    folder = safe_relative(f"{f'dfdc_train_part_{part}' if part.isdecimal() else part}/{video}")
    known = tuple((name, value or "") for name, value in row.items() if name and name not in COLUMNS)
    return LabelledCrop(folder, parse_label(label), original or video, split, known)


def unnamed(folder: str) -> LabelledCrop:
    """The crop of a photo that no table names: real, its own original, one in five in val. Raises BadInputError."""
    video = safe_relative(folder).rpartition("/")[2]
    side = "val" if hashlib.sha256(folder.encode()).digest()[0] % UNNAMED_VAL == 0 else "train"
    return LabelledCrop(folder, 0, video, side)


@dataclass
class Cutter:
    """Cuts photos of whole heads in some sets to the face, and remembers those without a face."""

    detector: FaceDetector
    sets: frozenset[str]
    left_out: list[LabelledCrop]

    def picture(self, crop: LabelledCrop, content: bytes) -> bytes | None:
        """The bytes of a crop's file: `content`, or the face in a photo of a whole head; None without a face."""
        if crop.set not in self.sets:
            return content
        image = decode_image(np.frombuffer(content, np.uint8), Path(crop.path))
        face = tight_face(self.detector, image)
        if face is None:
            self.left_out.append(crop)
            return None
        return encode_image(face, ".jpg")


def pictures(source: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yield `<part>/<video>` and a function that reads the file, for all pictures in a folder and in its archives."""
    for archive in sorted(source.glob("*.tar")):
        with tarfile.open(archive) as file:
            for member in file:
                folder, _, name = member.name.removeprefix("./").rpartition("/")  # `tar cf x.tar .` writes ./
                content = file.extractfile(member) if member.isfile() else None
                if name in (CROP, PHOTO) and content is not None:
                    yield folder, content.read
    for name in (CROP, PHOTO):
        for path in sorted(source.glob(f"*/*/{name}")):
            yield path.parent.relative_to(source).as_posix(), path.read_bytes


def unpack(source: Path, crops: dict[str, LabelledCrop], faces: Path, cutter: Cutter) -> Iterator[LabelledCrop]:
    """Write a folder's crops that are not on disk yet; yield every crop of it that is on disk then.

    These are the crops of `crops` (by folder), and photos of parts that `crops` does not name.
    """
    parts = {folder.partition("/")[0] for folder in crops}
    for folder, read in pictures(source):
        if folder not in crops and (folder.count("/") != 1 or folder.partition("/")[0] in parts | {".."}):
            continue
        crop = crops.get(folder) or unnamed(folder)
        path = faces / crop.path
        if not is_written(path):
            picture = cutter.picture(crop, read())
            if picture is None:
                continue
            with atomic_file(path, synced=False) as temporary:
                temporary.write_bytes(picture)
        yield crop


def unpack_all(sources: Sequence[Path], faces: Path, cutter: Cutter) -> list[LabelledCrop]:
    """Unpack all crops of some folders. Raises BadInputError if they lack a crop of the tables."""
    wanted = {crop.folder: crop for crop in read_tables(sources)}
    crops: dict[str, LabelledCrop] = {}
    with progress(desc="make_crop_lists", unit="crop") as bar:
        for source in sources:
            for crop in unpack(source, wanted, faces, cutter):
                crops[crop.folder] = crop
                bar.update()
    if crops:
        sync_all_in(faces)
    missing = sorted(wanted.keys() - crops.keys() - {crop.folder for crop in cutter.left_out})
    if missing:
        examples = ", ".join(missing[:3])
        raise BadInputError(f"{len(missing)} crops of the tables are not in {named(sources)}: {examples}")
    return list(crops.values())


def named(sources: Sequence[Path]) -> str:
    """The folders, for messages."""
    return " or ".join(map(str, sources))


def all_landmarks(crops: list[LabelledCrop], faces: Path, detector: FaceDetector, table: Path) -> dict[str, np.ndarray]:
    """The landmarks float32 [5, 2] of all crops with a face, by path. What the table lacks is found and added to it."""
    landmarks = read_landmarks(table) if table.is_file() else {}
    missing = [crop.path for crop in crops if crop.path not in landmarks]
    with ThreadPoolExecutor(cores()) as pool, progress(total=len(missing), desc="landmarks", unit="crop") as bar:
        results = pool.map(partial(find_landmarks, detector), map(faces.joinpath, missing))
        for path, points in zip(missing, results, strict=True):
            landmarks[path] = points
            bar.update()
    if missing:
        write_landmarks(table, landmarks)
    return {crop.path: points for crop in crops if (points := landmarks[crop.path]) is not None}


def pairs_of(crops: Iterable[LabelledCrop]) -> Iterator[tuple[LabelledCrop, LabelledCrop]]:
    """Yield each fake with each real crop of its original, in sorted order, except fakes without such a crop."""
    ordered = sorted(crops)
    originals: dict[str, list[LabelledCrop]] = {}
    for crop in ordered:
        if not crop.label:
            originals.setdefault(crop.original, []).append(crop)
    for crop in ordered:
        if crop.label:
            yield from ((crop, real) for real in originals.get(crop.original, ()))


def write_lists(crops: list[LabelledCrop], landmarks: dict[str, np.ndarray], lists: Path) -> None:
    """Write each set's shuffled lists with their truth, and its lists of pairs and of crops to blend.

    `landmarks` holds points [5, 2] by crop.
    """
    for name, part in sorted({(crop.set, crop.list) for crop in crops}):
        listed = sorted(crop for crop in crops if (crop.set, crop.list) == (name, part))
        random.Random(f"0/{part}").shuffle(listed)
        write_text(lists / f"{name}_{part}.txt", "".join(crop.line for crop in listed))
        write_table(lists / f"{name}_{part}.csv", truth_table(listed))
        print(f"{name}_{part}: {len(listed)} crops, {sum(crop.label for crop in listed)} fake")
    train = sorted(crop for crop in crops if crop.split == "train")
    all_pairs = list(pairs_of(train))
    for name in sorted({crop.set for crop in train}):
        pairs = [fake.line + real.line for fake, real in all_pairs if fake.set == name]
        random.Random("0/pairs").shuffle(pairs)
        blend = [crop.line for crop in train if crop.set == name and crop.path in landmarks]
        for kind, lines in (("pairs", pairs), ("blend", blend)):
            if lines:
                write_text(lists / f"{name}_{kind}.txt", "".join(lines))
                print(f"{name}_{kind}: {len(lines)}")


def truth_table(crops: list[LabelledCrop]) -> list[tuple[object, ...]]:
    """The rows of a list's truth, headed by the names of the columns."""
    names = list(dict.fromkeys(name for crop in crops for name, _ in crop.known))
    rows: list[tuple[object, ...]] = [("filename", "label", "original", "subset", *names)]
    for crop in crops:
        known = dict(crop.known)
        subset = crop.folder.partition("/")[0]
        rows.append((crop.path, crop.label, crop.original, subset, *(known.get(name, "") for name in names)))
    return rows


def main() -> int:
    """Unpack the crops, find landmarks, write the lists; return 0."""
    parser = folder_parser(__doc__, faces="DFDC-Kaggle_Alignedface", lists="DFDC-Kaggle_list")
    crops_help = "folders of the tables, and of the archives or crops"
    parser.add_argument("--crops", type=Path, nargs="+", required=True, metavar="DIR", help=crops_help)
    whole_heads = "sets whose pictures are cut to the face (default: lfw,inswapper,ffhq)"
    parser.add_argument("--whole-heads", default="lfw,inswapper,ffhq", metavar="A,B", help=whole_heads)
    options = parser.parse_args()
    detector = FaceDetector(default_weights())
    cutter = Cutter(detector, frozenset(options.whole_heads.split(",")), [])
    crops = unpack_all(options.crops, options.faces, cutter)
    real = sorted(crop for crop in crops if crop.split == "train" and not crop.label)
    landmarks = all_landmarks(real, options.faces, detector, options.lists / LANDMARKS)
    write_lists(crops, landmarks, options.lists)
    if cutter.left_out:
        print(f"left out because they show no face: {len(cutter.left_out)}, such as {cutter.left_out[0].folder}")
    print(f"faces to blend: {len(landmarks)} of {len(real)} real crops show a whole face")
    print(f"make_crop_lists: {len(crops)} crops done; {options.faces}, {options.lists}")
    return 0


if __name__ == "__main__":
    run_script(main)
