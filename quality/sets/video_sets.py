"""How the paths and lists of data sets of videos become items.

Each reader takes the root and the variant of a copy, and gives what the set should hold. It raises BadInputError for a
list that cannot be read.
"""

import re
from dataclasses import replace
from pathlib import Path

from common.errors import BadInputError
from common.folders import files_below
from common.labels import label_of, parse_label
from common.tables import by_filename
from quality.sets.items import (
    COMPRESSIONS,
    SCENARIOS,
    SPLITS,
    Item,
    Variant,
    matches,
    read_celebdf2_list,
    read_ffpp_pairs,
    refuse_outside,
    videos_below,
)

FFPP_METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")  # in every copy
LATER_METHOD = "FaceShifter"  # of FaceForensics++, which some copies lack
FACE_SWAP, REENACTMENT, TALKING = SCENARIOS
CELEBDF_SCENARIOS = {"FaceSwap": FACE_SWAP, "FaceReenact": REENACTMENT, "TalkingFace": TALKING}  # folders of Celeb-DF++
KODF_SCENARIOS = {
    **{"dfl": FACE_SWAP, "dffs": FACE_SWAP, "fsgan": FACE_SWAP},  # DeepFaceLab, FaceSwap, FSGAN
    "fo": REENACTMENT,  # the first-order motion model
    "audio-driven": TALKING,  # ATFHP, Wav2Lip
}
TEST_LIST = "List_of_testing_videos.txt"
VALIDATION_PARTS = range(30, 40)  # of DFDC (reference, section 5)


def ffpp(root: Path, variant: Variant) -> list[Item]:
    """FaceForensics++ (Rössler et al., ICCV 2019): the official pairs, each with two fakes per manipulation."""
    manipulations = list(FFPP_METHODS)
    if matches(root, f"manipulated_sequences/{LATER_METHOD}"):
        manipulations.append(LATER_METHOD)
    items = []
    for split, pairs in read_ffpp_pairs().items():
        for first, second in pairs:
            for name in (first, second):
                folder = ffpp_videos(root, "original_sequences/youtube", variant)
                items.append(Item(f"{folder}/{name}.mp4", 0, "", name, (name,), split))
            for target, source in ((first, second), (second, first)):
                for manipulation in manipulations:
                    parent = f"manipulated_sequences/{manipulation}"
                    file = f"{target}_{source}.mp4"
                    key = f"{ffpp_videos(root, parent, variant)}/{file}"
                    mask = f"{parent}/masks/videos/{file}"
                    items.append(Item(key, 1, manipulation, target, (target, source), split, mask=mask))
    return items


def ffpp_videos(root: Path, parent: str, variant: Variant) -> str:
    """The folder of videos of a compression, by the name that it has in this copy."""
    names = COMPRESSIONS[variant.compression]
    name = next((name for name in names if (root / parent / name).is_dir()), names[0])
    return f"{parent}/{name}/videos"


def dfd(root: Path, variant: Variant) -> list[Item]:
    """DeepFakeDetection: fakes `<target>_<source>__<scene>__<hash>`, no official list; all of it is for testing."""
    items = []
    for name in COMPRESSIONS[variant.compression]:
        for key in videos_below(root, f"original_sequences/actors/{name}/videos"):
            stem = Path(key).stem
            items.append(Item(key, 0, "", stem, (stem.partition("__")[0],), "test"))
        for key in videos_below(root, f"manipulated_sequences/DeepFakeDetection/{name}/videos"):
            stem = Path(key).stem
            if match := re.fullmatch(r"(\d+)_(\d+)__(.+)__\w+", stem):
                target, source, scene = match.groups()
                original = f"{target}__{scene}"
                mask = f"manipulated_sequences/DeepFakeDetection/masks/videos/{stem}.mp4"
                items.append(Item(key, 1, "DeepFakeDetection", original, (target, source), "test", mask=mask))
    return items


def celebdf(root: Path, _: Variant) -> list[Item]:
    """Celeb-DF (Li et al., CVPR 2020), versions 1 to 3: the list of testing videos; all others are for training.

    Version 3 is Celeb-DF++ (Li et al., 2025, github.com/OUC-VAS/Celeb-DF-PP): `Celeb-synthesis/<scenario>/<method>`.
    """
    if not (root / TEST_LIST).is_file():
        raise BadInputError(f"{root / TEST_LIST} is missing: it comes with the data set, and names its testing videos")
    return celebdf_items(root, (root / TEST_LIST).read_text(encoding="utf-8"))


def celebdf2(root: Path, variant: Variant) -> list[Item]:
    """Celeb-DF-v2; where the copy lacks the list, that in quality/sets/splits is used."""
    return celebdf(root, variant) if (root / TEST_LIST).is_file() else celebdf_items(root, read_celebdf2_list())


def celebdf_items(root: Path, text: str) -> list[Item]:
    """The videos of a copy of Celeb-DF, by the text of its list."""
    listed = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        mark, _, key = line.partition(" ")
        listed[key] = 1 - parse_label(mark)  # in this list 1 means REAL
    keys = {plain_key(key): key for key in videos_below(root, "Celeb-real", "YouTube-real", "Celeb-synthesis")}
    items = []
    for plain in sorted(keys.keys() | listed.keys()):
        split = "test" if plain in listed else "train"
        items.append(replace(celebdf_item(plain), key=keys.get(plain, plain), split=split, listed=listed.get(plain)))
    return items


def plain_key(key: str) -> str:
    """A path as Celeb-DF's list has it: some copies have the videos in a folder `videos`, as DeepfakeBench wants."""
    return "/".join(part for part in key.split("/") if part != "videos")


def celebdf_item(key: str) -> Item:
    """A video of Celeb-DF by its path: `Celeb-synthesis[/...]/id0_id1_0000.mp4` was made of `Celeb-real/id0_0000`.

    A talking face is driven by a voice, so its name has no second person: `id0_0000_...`.
    """
    folder, *between, file = key.split("/")
    parts = Path(file).stem.split("_")
    if folder != "Celeb-synthesis":
        person = parts[0] if folder == "Celeb-real" else Path(key).stem
        return Item(key, 0, "", f"{folder}/{Path(file).stem}", (person,), "")
    manipulation = between[-1] if between else folder
    scenario = CELEBDF_SCENARIOS.get(between[0], "") if between else ""
    people = tuple(parts[:1] + [part for part in parts[1:2] if part.startswith("id")])
    original = "_".join((f"Celeb-real/{people[0]}", *parts[len(people) : len(people) + 1]))
    return Item(key, 1, manipulation, original, people, "", scenario=scenario)


def dfdc(root: Path, _: Variant) -> list[Item]:
    """DFDC (Dolhansky et al., 2020): parts with metadata.json, and the test set with metadata.json or labels.csv."""
    items = []
    for file in (path for path in files_below(root) if path.name in ("metadata.json", "labels.csv")):
        folder = file.parent.relative_to(root)
        part = re.fullmatch(r"dfdc_train_part_(\d+)", file.parent.resolve().name)
        split = "test" if part is None else "val" if int(part[1]) in VALIDATION_PARTS else "train"
        for name, entry in by_filename(file).items():
            label = label_of(file, name, entry.get("label", entry.get("is_fake")))
            original = (folder / (entry.get("original") or name)).as_posix()
            key = (folder / name).as_posix()
            items.append(Item(key, label, "DFDC" if label else "", original, (original,), split))
    return items


def dfdcp(root: Path, _: Variant) -> list[Item]:
    """The preview of DFDC (Dolhansky et al., 2019): dataset.json with label, set, target_id and swapped_id."""
    items = []
    for key, entry in by_filename(root / "dataset.json").items():
        label = label_of(root / "dataset.json", key, entry.get("label"))
        target = str(entry.get("target_id") or Path(key).parent.name)
        people = (target, *([str(entry["swapped_id"])] if entry.get("swapped_id") else []))
        manipulation = Path(key).parts[0] if label else ""
        items.append(Item(key, label, manipulation, target, people, str(entry.get("set") or "test")))
    return items


def kodf(root: Path, _: Variant) -> list[Item]:
    """KoDF (Kwon et al., ICCV 2021): no list comes with it; all of it is for testing.

    `original_videos/<person>/<person>_<number>.mp4`, and `synthesized_videos/<method>/<date>/<person>/` with
    `<person>_<other person>_<number of the method>_<number>.mp4`. The authors publish no description of the layout. The
    folders are those of public code that reads the release, the names those of the list in Eleven4AI/SpeechForensics on
    GitHub. It is not known which recording a fake was made of, so a person's videos count as one original.
    """
    items = []
    for key in videos_below(root, "original_videos", "synthesized_videos"):
        folder, *between, file = key.split("/")
        people = tuple(dict.fromkeys(Path(file).stem.split("_")[:2]))
        if folder == "original_videos":
            items.append(Item(key, 0, "", people[0], people[:1], "test"))
        elif between:
            scenario = KODF_SCENARIOS.get(between[0], "")
            items.append(Item(key, 1, between[0], people[0], people, "test", scenario=scenario))
    return items


def own_folder(root: Path, _: Variant) -> list[Item]:
    """Videos in `real/` and `fake/`; a folder in `fake/` is a manipulation. Every video is its own original."""
    items = []
    for key in videos_below(root, "real", "fake"):
        kind, *between, _file = key.split("/")
        label = int(kind == "fake")
        items.append(Item(key, label, (between[0] if between else kind) if label else "", key, (key,), "test"))
    return items


def own_table(root: Path, _: Variant) -> list[Item]:
    """`labels.csv` below the root: filename, label, and, if they are known, original, manipulation, identities, split.

    Spaces separate identities. Raises BadInputError for a label or a split that is none.
    """
    items = []
    for key, row in by_filename(root / "labels.csv").items():
        refuse_outside(key, root)
        label = label_of(root / "labels.csv", key, row.get("label"))
        manipulation = row.get("manipulation") or row.get("subset") or "fake"
        original = row.get("original") or key
        people = tuple((row.get("identities") or original).split())
        split = (row.get("split") or "test").strip().lower()
        if split not in SPLITS:
            raise BadInputError(f"{root / 'labels.csv'}: {key}: {split!r} is not one of {', '.join(SPLITS)}")
        items.append(Item(key, label, manipulation if label else "", original, people, split))
    return items
