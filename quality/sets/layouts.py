"""The public data sets: how each lies on disk, and what a copy should hold.

Splits that the data sets do not bring along are in quality/sets/splits: FaceForensics++'s pairs of train, val and test
(its repository, dataset/splits) and Celeb-DF-v2's testing videos (its List_of_testing_videos.txt, where 1 means REAL).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from common.errors import BadInputError
from quality.sets.crop_sets import deepfakebench, df40
from quality.sets.items import COMPRESSIONS, Item, Variant, matches, refuse_outside, videos_below
from quality.sets.video_sets import (
    FFPP_METHODS,
    LATER_METHOD,
    celebdf,
    celebdf2,
    dfd,
    dfdc,
    dfdcp,
    ffpp,
    kodf,
    own_folder,
    own_table,
)

How = Variant  # its former name, to be removed in the next release
ANYTHING = "*"  # needed by a set that has no folder of its own


@dataclass(frozen=True)
class Layout:
    """How a data set lies on disk."""

    title: str
    needs: tuple[str, ...]  # files or folders, one of which must be below the root
    read: Callable[[Path, Variant], list[Item]]  # what the set should hold
    folders: tuple[str, ...] = (".",)  # where videos that the set should not hold are looked for
    compressed: bool = False  # whether there are copies of several compressions
    fetch: str = "fetch them again from where the data set came from"  # missing files, by {root} and {compression}


FETCH_FFPP = (
    "python download-FaceForensics.py {root} -d all -c {compression} -t videos   "
    "# the script that its authors send, github.com/ondyari/FaceForensics"
)
FETCH_CELEBDF = "its authors send a link to the archive: github.com/yuezunli/celeb-deepfakeforensics"
FETCH_CELEBDF3 = "its authors send a link to the archive: github.com/OUC-VAS/Celeb-DF-PP"
FETCH_KODF = "its authors send a link: deepbrainai-research.github.io/kodf"
FETCH_DF40 = "its authors send links: github.com/YZY-stack/DF40"
FETCH_DFDC = "download the archive again: ai.meta.com/datasets/dfdc"
CELEBDF = ("Celeb-synthesis", "Celeb-real")
DFD = ("original_sequences/actors", "manipulated_sequences/DeepFakeDetection")
FFPP_REAL = "original_sequences/youtube"
FFPP_FAKE = tuple(f"manipulated_sequences/{method}" for method in (*FFPP_METHODS, LATER_METHOD))
LAYOUTS: Mapping[str, Layout] = {
    "ffpp": Layout(
        "FaceForensics++", (FFPP_REAL, FFPP_FAKE[0]), ffpp, (FFPP_REAL, *FFPP_FAKE), compressed=True, fetch=FETCH_FFPP
    ),
    "dfd": Layout("DeepFakeDetection", DFD, dfd, DFD, compressed=True, fetch=FETCH_FFPP),
    "celebdf1": Layout("Celeb-DF-v1", CELEBDF, celebdf, fetch=FETCH_CELEBDF),
    "celebdf2": Layout("Celeb-DF-v2", CELEBDF, celebdf2, fetch=FETCH_CELEBDF),
    "celebdf3": Layout("Celeb-DF++", CELEBDF, celebdf, fetch=FETCH_CELEBDF3),
    "dfdc": Layout("DFDC", ("metadata.json", "labels.csv", "*/metadata.json", "*/labels.csv"), dfdc, fetch=FETCH_DFDC),
    "dfdcp": Layout("DFDC preview", ("dataset.json",), dfdcp, fetch=FETCH_DFDC),
    "kodf": Layout("KoDF", ("synthesized_videos",), kodf, fetch=FETCH_KODF),
    "folder": Layout("folder with real/ and fake/", ("real", "fake"), own_folder),
    "csv": Layout("folder with labels.csv", ("labels.csv",), own_table),
    "df40": Layout("DF40 (crops)", ("*/ff", "*/cdf", "*/*/ff", "*/*/cdf"), df40, (), compressed=True, fetch=FETCH_DF40),
    "deepfakebench": Layout(
        "folder of DeepfakeBench's crops and its JSON", (ANYTHING,), deepfakebench, (), compressed=True
    ),
}


def read_items(name: str, root: Path, variant: Variant) -> list[Item]:
    """What a data set should hold, each key once.

    Raises BadInputError for a root that does not look like this set, or a list that cannot be right.
    """
    check_root(name, root)
    by_key: dict[str, Item] = {}
    for item in LAYOUTS[name].read(root, variant):
        if by_key.setdefault(item.key, item).label != item.label:
            raise BadInputError(f"{item.key} is listed as REAL and as FAKE")
    for item in by_key.values():
        for key in (item.key, *item.frames):
            refuse_outside(key, root)
    return list(by_key.values())


def check_root(name: str, root: Path) -> None:
    """Raise BadInputError unless the root looks like the data set; the message says what is expected.

    A folder above or below the right one is the usual mistake, so it names the one that fits.
    """
    needs = LAYOUTS[name].needs
    if fits(root, needs):
        return
    around = root if root.is_dir() else root.parent
    near = [path for path in (root.parent, *sorted(around.glob("*"))) if fits(path, needs)]
    similar = [
        other for other, layout in LAYOUTS.items() if fits(root, [need for need in layout.needs if need != ANYTHING])
    ]
    hint = f"; {near[0]} has" if near else f"; it looks like {similar[0]}" if similar else ""
    raise BadInputError(f"{root} is not a {LAYOUTS[name].title}: it has no {' or '.join(needs)}{hint}")


def fits(root: Path, needs: Iterable[str]) -> bool:
    """Whether one of the needed files or folders is below the root."""
    return any(matches(root, need) for need in needs)


def extra_videos(name: str, root: Path, compression: str, items: Iterable[Item]) -> list[str]:
    """The videos in the set's folders that the set should not hold; masks and other compressions are ignored."""
    layout = LAYOUTS[name]
    extra = set(videos_below(root, *layout.folders)) - {item.key for item in items}
    if not layout.compressed:
        return sorted(extra)
    folders = [f"/{folder}/videos/" for folder in COMPRESSIONS[compression]]
    return sorted(key for key in extra if any(folder in key for folder in folders))
