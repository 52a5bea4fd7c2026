"""How the paths and lists of data sets that come as face crops become items, as quality.sets.video_sets does."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common.errors import BadInputError
from common.folders import files_below
from quality.sets.items import COMPRESSIONS, Item, Variant, read_celebdf2_list, read_ffpp_pairs

Named = tuple[tuple[str, ...], Mapping[str, Any]]  # perhaps a compression, and the name of a video; its entry


def deepfakebench(root: Path, variant: Variant) -> list[Item]:
    """DeepfakeBench's JSON (Yan et al., NeurIPS 2023): set, class, split, perhaps compression, video, label and frames.

    Frames are crops whose paths are below the root. Older files have backslashes in them. A video's original is its
    name up to the first `_`; real videos are those whose class ends in `real`.
    """
    files = [variant.listing] if variant.listing else sorted(root.glob("*.json"))
    if len(files) != 1:
        names = ", ".join(path.name for path in files)
        raise BadInputError(f"{root} holds {len(files)} JSON files ({names}): choose one with --json")
    try:
        content = json.loads(files[0].read_text(encoding="utf-8"))
        return [
            deepfakebench_item(f"{name}/{kind}", split, path, video)
            for name, kinds in content.items()
            for kind, splits in kinds.items()
            for split, videos in splits.items()
            for path, video in named_videos(videos)
            if len(path) == 1 or path[0] in COMPRESSIONS[variant.compression]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(f"{files[0]} is not a data set of DeepfakeBench: {error!r}") from error


def named_videos(content: Mapping[str, Any]) -> Iterator[Named]:
    """Yield each video in a split that has frames."""
    for name, entry in content.items():
        if not isinstance(entry, Mapping):  # DFDC's val does not name videos
            continue
        if "frames" not in entry:
            yield from (((name, *path), video) for path, video in named_videos(entry))
        elif entry["frames"]:  # the harness skips videos without frames too
            yield (name,), entry


def deepfakebench_item(kind: str, split: str, path: tuple[str, ...], video: Mapping[str, Any]) -> Item:
    """A video of precropped faces by its entry; `kind` is `<set>/<class>`."""
    frames = [str(frame).replace("\\", "/").removeprefix("./") for frame in video["frames"]]
    method = str(video["label"])
    label = int(not method.lower().endswith("real"))
    people = tuple(path[-1].split("_")[:2])
    key = "/".join((kind, split, *path))
    original = f"{kind.partition('/')[0]}/{people[0]}"
    in_order = sorted(frames, key=lambda frame: (len(Path(frame).stem), frame))
    return Item(key, label, method if label else "", original, people, split, frames=tuple(in_order))


def df40(root: Path, variant: Variant) -> list[Item]:
    """DF40 (Yan et al., NeurIPS 2024) as crops: `.../<method>/<ff or cdf>/.../frames/<video>/<number>.png`.

    The real videos are DeepfakeBench's crops of FaceForensics++ (`.../original_sequences/youtube/<c>/frames/<id>`) and
    of Celeb-DF (`.../Celeb-real/...`, `.../YouTube-real/...`), anywhere below the root. Fakes made of FaceForensics++
    have the split of their first video there; those made of Celeb-DF have no list: all of them are for testing.
    """
    splits = {name: split for split, pairs in read_ffpp_pairs().items() for pair in pairs for name in pair}
    celebdf_test = {Path(line.split()[1]).stem for line in read_celebdf2_list().splitlines()}
    items = []
    for folder, frames in frame_folders(root).items():
        *above, name = folder.split("/")
        people = tuple(name.split("_")[:2])
        if fake := re.search(r"(?:^|/)([^/]+)/(ff|cdf)(?:/|$)", "/".join(above)):
            method, domain = fake.groups()
            split = splits.get(people[0], "test") if domain == "ff" else "test"
            items.append(Item(folder, 1, method, f"{domain}/{people[0]}", people, split, frames=frames))
        elif "youtube" in above and set(COMPRESSIONS[variant.compression]) & set(above):
            items.append(Item(folder, 0, "", f"ff/{name}", people, splits.get(name, "test"), frames=frames))
        elif "Celeb-real" in above or "YouTube-real" in above:
            split = "test" if name in celebdf_test else "train"
            items.append(Item(folder, 0, "", f"cdf/{people[0]}", people[:1], split, frames=frames))
    return items


def frame_folders(root: Path) -> dict[str, tuple[str, ...]]:
    """Each folder below a folder `frames`, by its path below the root, with its images in the order of their names.

    Names that are numbers are in numeric order.
    """
    folders: dict[str, list[str]] = {}
    for path in files_below(root):
        if path.suffix.lower() in (".png", ".jpg") and path.parent.parent.name == "frames":
            folders.setdefault(path.parent.relative_to(root).as_posix(), []).append(path.relative_to(root).as_posix())
    return {folder: tuple(sorted(frames, key=lambda frame: (len(frame), frame))) for folder, frames in folders.items()}
