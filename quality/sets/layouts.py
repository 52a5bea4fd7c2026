"""The public data sets: where their official folders lie, and how a path becomes label, manipulation, original, split.

Splits that the data sets do not bring along are in quality/splits: FaceForensics++'s pairs of train, val and test (its
repository, dataset/splits) and Celeb-DF-v2's testing videos (its List_of_testing_videos.txt, where 1 means REAL).
"""

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import BadInputError
from common.labels import parse_label
from faces.video_files import has_suffix

SPLITS = Path(__file__).parent / "splits"
FFPP = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")  # of every copy; FaceShifter came later
LATER = "FaceShifter"
COMPRESSIONS = {"c0": ("c0", "raw"), "c23": ("c23",), "c40": ("c40",)}  # and the folders' names
ANY = "*"  # a set that has no folder of its own
TEST_LIST = "List_of_testing_videos.txt"
VALIDATION_PARTS = range(30, 40)  # of DFDC (contract, section 5)


@dataclass(frozen=True)
class Item:
    """A video that a data set should hold.

    `key` is its path below the root. Fakes and the real video that they were made of have the same `original`.
    `listed` is the label of the official list, where that says one besides the folder.
    """

    key: str
    label: int  # 1 FAKE
    manipulation: str  # "" of a real one
    original: str
    identities: tuple[str, ...]
    split: str
    listed: int | None = None
    mask: str = ""  # path of the mask video below the root
    frames: tuple[str, ...] = ()  # of crops that are ready-made: their paths below the root, in order


class How(NamedTuple):
    """Which copy of a data set: its compression, and DeepfakeBench's JSON file (None: the only one in the root)."""

    compression: str = "c23"
    listing: Path | None = None


@dataclass(frozen=True)
class Layout:
    """A data set: its title, the folders or files that must be below its root, how they are read."""

    title: str
    needs: tuple[str, ...]  # one of these must be there
    read: Callable[[Path, How], list[Item]]  # what the set should hold
    folders: tuple[str, ...] = (".",)  # where other videos would be extra ones
    compressed: bool = False
    fetch: str = "fetch them again from where the data set came from"  # how missing files come; {root}, {compression}


def check_root(name: str, root: Path) -> None:
    """Raise BadInputError unless the root looks like the data set; the message names what is expected and the nearest.

    A folder above or below the right one is the usual mistake, so both are looked at.
    """
    needs = LAYOUTS[name].needs
    if any(matches(root, need) for need in needs):
        return
    expected = " or ".join(needs)
    near = [root.parent, *sorted(path for path in root.glob("*") if path.is_dir())] if root.is_dir() else [root.parent]
    fits = [path for path in near if any(matches(path, need) for need in needs)]
    named = [(other, need) for other, layout in LAYOUTS.items() for need in layout.needs if need != ANY]
    others = [other for other, need in named if matches(root, need)]
    hint = f"; {fits[0]} has" if fits else f"; it looks like {others[0]}" if others else ""
    raise BadInputError(f"{root} is no {LAYOUTS[name].title}: it has no {expected}{hint}")


def matches(root: Path, need: str) -> bool:
    """Whether there is a file or folder of this name, or pattern, below the root."""
    return next(iter(root.glob(need)), None) is not None if root.is_dir() else False


def videos_below(root: Path, *folders: str) -> Iterator[str]:
    """The paths below the root of the videos in folders, by their suffix, in order."""
    for folder in folders:
        for path in files_below(root / folder):
            if has_suffix(path) and not path.name.startswith("."):
                yield path.relative_to(root).as_posix()


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, in order; links to folders are followed."""
    return sorted(Path(here, name) for here, _, names in os.walk(folder, followlinks=True) for name in names)


def ffpp(root: Path, how: How) -> list[Item]:
    """FaceForensics++ (Rössler et al., ICCV 2019): the official pairs, each of which gives two fakes a manipulation."""
    names = COMPRESSIONS[how.compression]
    manipulations = [*FFPP, *([LATER] if matches(root, f"manipulated_sequences/{LATER}") else [])]
    items = []

    def folder(of: str) -> str:
        there = [name for name in names if (root / of / name).is_dir()]
        return f"{of}/{(there or list(names))[0]}/videos"

    for split in ("train", "val", "test"):
        for one, other in json.loads((SPLITS / f"ffpp_{split}.json").read_text(encoding="utf-8")):
            for name in (one, other):
                items.append(Item(f"{folder('original_sequences/youtube')}/{name}.mp4", 0, "", name, (name,), split))
            for target, source in ((one, other), (other, one)):
                for manipulation in manipulations:
                    of = f"manipulated_sequences/{manipulation}"
                    file = f"{target}_{source}.mp4"
                    mask = f"{of}/masks/videos/{file}"
                    ids = (target, source)
                    items.append(Item(f"{folder(of)}/{file}", 1, manipulation, target, ids, split, mask=mask))
    return items


def dfd(root: Path, how: How) -> list[Item]:
    """DeepFakeDetection: fakes `<target>_<source>__<scene>__<hash>`, no official list; all of it is for testing."""
    items = []
    for name in COMPRESSIONS[how.compression]:
        for key in videos_below(root, f"original_sequences/actors/{name}/videos"):
            stem = Path(key).stem
            items.append(Item(key, 0, "", stem, (stem.partition("__")[0],), "test"))
        for key in videos_below(root, f"manipulated_sequences/DeepFakeDetection/{name}/videos"):
            stem = Path(key).stem
            if match := re.fullmatch(r"(\d+)_(\d+)__(.+)__\w+", stem):
                target, source, scene = match.groups()
                mask = f"manipulated_sequences/DeepFakeDetection/masks/videos/{stem}.mp4"
                items.append(
                    Item(key, 1, "DeepFakeDetection", f"{target}__{scene}", (target, source), "test", mask=mask)
                )
    return items


def celebdf(root: Path, _: How) -> list[Item]:
    """Celeb-DF (Li et al., CVPR 2020), versions 1 to 3: the list of testing videos; all others are for training."""
    if not (root / TEST_LIST).is_file():
        raise BadInputError(f"{root / TEST_LIST} is missing: it comes with the data set, and names its testing videos")
    return by_list(root, (root / TEST_LIST).read_text(encoding="utf-8"))


def celebdf2(root: Path, _: How) -> list[Item]:
    """Celeb-DF-v2, whose list is known where the copy lacks it."""
    own = root / TEST_LIST
    return by_list(root, (own if own.is_file() else SPLITS / "celebdf_v2_test.txt").read_text(encoding="utf-8"))


def by_list(root: Path, text: str) -> list[Item]:
    """The videos of a copy of Celeb-DF, by the text of its list."""
    listed = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        mark, _, key = line.partition(" ")
        listed[key] = 1 - parse_label(mark)  # the list says 1 for REAL
    found = {plain_key(key): key for key in videos_below(root, "Celeb-real", "YouTube-real", "Celeb-synthesis")}
    items = []
    for plain in sorted(found.keys() | listed.keys()):
        split = "test" if plain in listed else "train"
        items.append(replace(celebdf_item(plain), key=found.get(plain, plain), split=split, listed=listed.get(plain)))
    return items


def plain_key(key: str) -> str:
    """A path as Celeb-DF's list has it: some copies have the videos in a folder `videos`, as DeepfakeBench wants."""
    return "/".join(part for part in key.split("/") if part != "videos")


def celebdf_item(key: str) -> Item:
    """A video of Celeb-DF by its path: `Celeb-synthesis[/...]/id0_id1_0000.mp4` was made of `Celeb-real/id0_0000`."""
    folder, *between, file = key.split("/")
    parts = Path(file).stem.split("_")
    if folder != "Celeb-synthesis":
        person = parts[0] if folder == "Celeb-real" else Path(key).stem
        return Item(key, 0, "", f"{folder}/{Path(file).stem}", (person,), "")
    manipulation = between[-1] if between else folder
    original = f"Celeb-real/{parts[0]}_{parts[2]}" if len(parts) > 2 else f"Celeb-real/{parts[0]}"
    return Item(key, 1, manipulation, original, tuple(parts[:2]), "")


def dfdc(root: Path, _: How) -> list[Item]:
    """DFDC (Dolhansky et al., 2020): parts with metadata.json, and the test set with metadata.json or labels.csv."""
    items = []
    for file in (path for path in files_below(root) if path.name in ("metadata.json", "labels.csv")):
        folder = file.parent.relative_to(root)
        part = re.fullmatch(r"dfdc_train_part_(\d+)", file.parent.resolve().name)
        split = "test" if part is None else "val" if int(part[1]) in VALIDATION_PARTS else "train"
        for name, entry in read_entries(file).items():
            try:
                label = parse_label(str(entry["label"] if "label" in entry else entry["is_fake"]).upper())
            except KeyError as error:
                raise BadInputError(f"{file}: {name} has no label") from error
            original = (folder / (entry.get("original") or name)).as_posix()
            key = (folder / name).as_posix()
            items.append(Item(key, label, "DFDC" if label else "", original, (original,), split))
    return items


def read_entries(file: Path) -> dict[str, dict[str, str]]:
    """The entries of a metadata.json or a labels.csv by file name. Raises BadInputError."""
    try:
        if file.suffix == ".json":
            entries: dict[str, dict[str, str]] = json.loads(file.read_text(encoding="utf-8"))
            return {name: dict(entry) for name, entry in entries.items()}
        with file.open(newline="", encoding="utf-8-sig") as rows:
            return {row["filename"]: row for row in csv.DictReader(rows)}
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise BadInputError(f"{file} is not a list of videos by name: {error!r}") from error


def dfdcp(root: Path, _: How) -> list[Item]:
    """The preview of DFDC (Dolhansky et al., 2019): dataset.json with label, set, target_id and swapped_id."""
    items = []
    for key, entry in read_entries(root / "dataset.json").items():
        label = parse_label(str(entry.get("label")).upper())
        target = str(entry.get("target_id") or Path(key).parent.name)
        people = (target, *([str(entry["swapped_id"])] if entry.get("swapped_id") else []))
        manipulation = Path(key).parts[0] if label else ""
        items.append(Item(key, label, manipulation, target, people, str(entry.get("set") or "test")))
    return items


def folder(root: Path, _: How) -> list[Item]:
    """Videos in `real/` and `fake/`; a folder in `fake/` is a manipulation. Fakes have their own originals."""
    items = []
    for key in videos_below(root, "real", "fake"):
        kind, *between, _file = key.split("/")
        label = int(kind == "fake")
        items.append(Item(key, label, (between[0] if between else kind) if label else "", key, (key,), "test"))
    return items


def table(root: Path, _: How) -> list[Item]:
    """`labels.csv` below the root: filename, label, and, if they are known, original, manipulation, identities, split.

    Identities are separated by spaces.
    """
    items = []
    for key, row in read_entries(root / "labels.csv").items():
        if Path(key).is_absolute() or ".." in Path(key).parts:
            raise BadInputError(f"labels.csv: {key!r} leaves the folder")
        label = parse_label(row.get("label"))
        manipulation = row.get("manipulation") or row.get("subset") or "fake"
        original = row.get("original") or key
        people = tuple((row.get("identities") or original).split())
        items.append(Item(key, label, manipulation if label else "", original, people, row.get("split") or "test"))
    return items


def deepfakebench(root: Path, how: How) -> list[Item]:
    """DeepfakeBench's JSON (Yan et al., NeurIPS 2023): set, class, split, perhaps compression, video, label and frames.

    Frames are ready-made crops whose paths are below the root. Older files have backslashes in them. A video's original
    is its name up to the first `_`; real ones are those whose class ends in `real`.
    """
    files = [how.listing] if how.listing else sorted(root.glob("*.json"))
    if len(files) != 1:
        names = ", ".join(path.name for path in files)
        raise BadInputError(f"{root} holds {len(files)} JSON files ({names}): name one by --json")
    try:
        content = json.loads(files[0].read_text(encoding="utf-8"))
        found = [
            crops_item(f"{name}/{kind}", split, path, video)
            for name, kinds in content.items()
            for kind, splits in kinds.items()
            for split, videos in splits.items()
            for path, video in videos_of(videos)
            if len(path) == 1 or path[0] in COMPRESSIONS[how.compression]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"{files[0]} is no data set of DeepfakeBench: {error!r}") from error
    return found


def videos_of(content: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Each video in a split that has frames, with its name, before which there may be a compression."""
    for name, entry in content.items():
        if not isinstance(entry, Mapping):  # DFDC's val names no videos
            continue
        if "frames" in entry:
            if entry["frames"]:  # the harness skips the others too
                yield (name,), entry
        else:
            yield from (((name, *path), video) for path, video in videos_of(entry))


def crops_item(kind: str, split: str, path: tuple[str, ...], video: Mapping[str, Any]) -> Item:
    """A video of ready-made crops."""
    frames = [str(frame).replace("\\", "/").removeprefix("./") for frame in video["frames"]]
    method = str(video["label"])
    label = int(not method.lower().endswith("real"))
    name = path[-1]
    people = tuple(name.split("_")[:2])
    key = "/".join((kind, split, *path))
    original = f"{kind.partition('/')[0]}/{people[0]}"
    in_order = sorted(frames, key=lambda frame: (len(Path(frame).stem), frame))
    return Item(key, label, method if label else "", original, people, split, frames=tuple(in_order))


def df40(root: Path, how: How) -> list[Item]:
    """DF40 (Yan et al., NeurIPS 2024) as crops: `.../<method>/<ff or cdf>/.../frames/<video>/<number>.png`.

    Reals are DeepfakeBench's crops of FaceForensics++ (`.../original_sequences/youtube/<c>/frames/<id>`) and Celeb-DF
    (`.../Celeb-real/...`, `.../YouTube-real/...`), anywhere below the root. Fakes made of FaceForensics++ have the
    split of their first video there; those made of Celeb-DF have no list: all of them are for testing.
    """
    splits = {
        name: split
        for split in ("train", "val", "test")
        for pair in json.loads((SPLITS / f"ffpp_{split}.json").read_text(encoding="utf-8"))
        for name in pair
    }
    celebrities = {Path(line.split()[1]).stem for line in (SPLITS / "celebdf_v2_test.txt").read_text().splitlines()}
    items = []
    for folder, frames in frame_folders(root).items():
        *above, name = folder.split("/")
        people = tuple(name.split("_")[:2])
        if fake := re.search(r"(?:^|/)([^/]+)/(ff|cdf)(?:/|$)", "/".join(above)):
            method, domain = fake.groups()
            split = splits.get(people[0], "test") if domain == "ff" else "test"
            items.append(Item(folder, 1, method, f"{domain}/{people[0]}", people, split, frames=frames))
        elif "youtube" in above and set(COMPRESSIONS[how.compression]) & set(above):
            items.append(Item(folder, 0, "", f"ff/{name}", people, splits.get(name, "test"), frames=frames))
        elif "Celeb-real" in above or "YouTube-real" in above:
            split = "test" if name in celebrities else "train"
            items.append(Item(folder, 0, "", f"cdf/{people[0]}", people[:1], split, frames=frames))
    return items


def frame_folders(root: Path) -> dict[str, tuple[str, ...]]:
    """Each folder below a folder `frames`, by its path below the root, with its pictures in the order of their names.

    Numbers are in the order of their size.
    """
    found: dict[str, list[str]] = {}
    for path in files_below(root):
        if path.suffix.lower() in (".png", ".jpg") and path.parent.parent.name == "frames":
            found.setdefault(path.parent.relative_to(root).as_posix(), []).append(path.relative_to(root).as_posix())
    return {folder: tuple(sorted(frames, key=lambda one: (len(one), one))) for folder, frames in found.items()}


FETCH_FFPP = (
    "python download-FaceForensics.py {root} -d all -c {compression} -t videos   "
    "# the script that its authors send, github.com/ondyari/FaceForensics"
)
FETCH_CELEBDF = "its authors send a link to the archive: github.com/yuezunli/celeb-deepfakeforensics"
FETCH_DF40 = "its authors send links: github.com/YZY-stack/DF40"
FETCH_DFDC = "download the archive again: ai.meta.com/datasets/dfdc"
CELEBDF = ("Celeb-synthesis", "Celeb-real")
LAYOUTS: Mapping[str, Layout] = {
    "ffpp": Layout(
        "FaceForensics++",
        ("original_sequences/youtube", "manipulated_sequences/Deepfakes"),
        ffpp,
        ("original_sequences/youtube", *(f"manipulated_sequences/{name}" for name in (*FFPP, LATER))),
        compressed=True,
        fetch=FETCH_FFPP,
    ),
    "dfd": Layout(
        "DeepFakeDetection",
        ("original_sequences/actors", "manipulated_sequences/DeepFakeDetection"),
        dfd,
        ("original_sequences/actors", "manipulated_sequences/DeepFakeDetection"),
        compressed=True,
        fetch=FETCH_FFPP,
    ),
    "celebdf1": Layout("Celeb-DF-v1", CELEBDF, celebdf, fetch=FETCH_CELEBDF),
    "celebdf2": Layout("Celeb-DF-v2", CELEBDF, celebdf2, fetch=FETCH_CELEBDF),
    "celebdf3": Layout("Celeb-DF++", CELEBDF, celebdf, fetch=FETCH_CELEBDF),
    "dfdc": Layout("DFDC", ("metadata.json", "labels.csv", "*/metadata.json", "*/labels.csv"), dfdc, fetch=FETCH_DFDC),
    "dfdcp": Layout("DFDC preview", ("dataset.json",), dfdcp, fetch=FETCH_DFDC),
    "folder": Layout("folder with real/ and fake/", ("real", "fake"), folder),
    "csv": Layout("folder with labels.csv", ("labels.csv",), table),
    "df40": Layout("DF40 (crops)", ("*/ff", "*/cdf", "*/*/ff", "*/*/cdf"), df40, (), compressed=True, fetch=FETCH_DF40),
    "deepfakebench": Layout("folder of DeepfakeBench's crops and its JSON", (ANY,), deepfakebench, (), compressed=True),
}


def read_items(name: str, root: Path, how: How) -> list[Item]:
    """What a data set should hold, each key once. Raises BadInputError for a root that is not of this set."""
    check_root(name, root)
    by_key: dict[str, Item] = {}
    for item in LAYOUTS[name].read(root, how):
        if by_key.setdefault(item.key, item).label != item.label:
            raise BadInputError(f"{item.key} is listed as REAL and as FAKE")
    items = list(by_key.values())
    for item in items:
        for key in (item.key, *item.frames):
            if Path(key).is_absolute() or ".." in Path(key).parts:
                raise BadInputError(f"{key!r} leaves the folder {root}")
    return items


def extra(name: str, root: Path, compression: str, items: Iterable[Item]) -> list[str]:
    """The videos in the set's folders that the set should not hold, masks and other compressions left aside."""
    layout, known = LAYOUTS[name], {item.key for item in items}
    found = set(videos_below(root, *layout.folders)) - known
    if not layout.compressed:
        return sorted(found)
    mine = COMPRESSIONS[compression]
    return sorted(key for key in found if any(f"/{name}/videos/" in key for name in mine))
