"""What is wrong with a copy of a data set, found before anything is scored.

Missing, empty, unreadable and extra files; identities or originals on both sides of a split; one content under two
labels; labels of the list that contradict the folders; and, for FaceForensics++, fakes whose width is cut to a multiple
of 16 or whose rate differs from their original's.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.files import sha256
from common.status import Status
from common.workers import Workers, patience, progress
from faces.video import VideoInfo, probe
from inference.results import Result
from quality.sets.layouts import Item

SHOWN = 10


@dataclass(frozen=True)
class Finding:
    """A kind of trouble: what it is, the videos, what would mend it, and whether the set is not whole because of it."""

    kind: str
    what: str
    keys: tuple[str, ...]
    mend: str = ""
    breaks: bool = False

    def __str__(self) -> str:
        some = ", ".join(self.keys[:SHOWN]) + ", ..." * (len(self.keys) > SHOWN)
        return f"{self.kind}: {len(self.keys)} {self.what}: {some}" + (f"\n    {self.mend}" if self.mend else "")


def examine(
    root: Path, items: Sequence[Item], everything: Sequence[Item], extra: Sequence[str], fetch: str, workers: int
) -> list[Finding]:
    """Look at every file of the items, and at all splits for leaks; return what is wrong, empty if nothing is.

    `fetch` says how missing files come.
    """
    films = {item.key: root / item.key for item in items if not item.frames}
    crops = {frame: root / frame for item in items for frame in item.frames}
    paths = films | crops
    missing = [key for key, path in paths.items() if not path.is_file()]
    empty = [key for key, path in paths.items() if path.is_file() and not path.stat().st_size]
    lost = {*missing, *empty}
    there = {key: path for key, path in films.items() if key not in lost}
    facts, unreadable = read_headers(there, workers)
    whole = [item for item in items if item.key in facts]
    found = [
        Finding("missing", "of the list are not on disk", tuple(missing), fetch, breaks=True),
        Finding("empty", "files have no content", tuple(empty), f"remove them, then: {fetch}", breaks=True),
        Finding(
            "unreadable", "files are no readable video", tuple(unreadable), f"remove them, then: {fetch}", breaks=True
        ),
        Finding("extra", "videos are not of the set", tuple(extra), "they are not scored"),
        *leaks(everything),
        *upside_down(items),
        *two_labels(root, whole),
        *oddities(whole, facts),
    ]
    return [finding for finding in found if finding.keys]


def read_headers(paths: Mapping[str, Path], workers: int) -> tuple[dict[str, VideoInfo], list[str]]:
    """What the videos say of themselves, and those that cannot be read."""
    facts: dict[str, VideoInfo] = {}
    unreadable = []
    jobs = {key: (path,) for key, path in paths.items()}
    with (
        Workers(min(workers, max(len(jobs), 1))) as pool,
        progress(total=len(jobs), desc="check", unit="video") as bar,
    ):
        for key, outcome in pool.run(probe, jobs, {key: patience(path) for key, path in paths.items()}):
            if isinstance(outcome, Exception):
                unreadable.append(key)
            else:
                facts[key] = outcome
            bar.update()
    return facts, sorted(unreadable)


def leaks(items: Iterable[Item]) -> list[Finding]:
    """Originals and identities that two splits share."""
    found = []
    for what, values in (("originals", lambda item: (item.original,)), ("identities", lambda item: item.identities)):
        splits: dict[str, set[str]] = defaultdict(set)
        for item in items:
            for value in values(item):
                splits[value].add(item.split)
        shared = tuple(sorted(value for value, of in splits.items() if len(of) > 1))
        found.append(Finding("leak", f"{what} are in two splits", shared, "measure on a split that shares none"))
    return found


def upside_down(items: Iterable[Item]) -> list[Finding]:
    """Items whose folder says another label than the official list."""
    wrong = [item.key for item in items if item.listed is not None and item.listed != item.label]
    mend = "in the list of Celeb-DF 1 means REAL; a list turned round calls every folder wrong"
    return [Finding("label", "labels of the list contradict the folder", tuple(wrong), mend, breaks=True)]


def two_labels(root: Path, items: Iterable[Item]) -> list[Finding]:
    """Videos that are, byte for byte, also there under the other label."""
    by_size: dict[int, list[Item]] = defaultdict(list)
    for item in items:
        by_size[(root / item.key).stat().st_size].append(item)
    by_content: dict[str, list[Item]] = defaultdict(list)
    for same in by_size.values():
        if len({item.label for item in same}) > 1:
            for item in same:
                by_content[sha256(root / item.key)].append(item)
    twice = [item.key for same in by_content.values() if len({one.label for one in same}) > 1 for item in same]
    return [Finding("content", "files have the content of one of the other label", tuple(sorted(twice)), breaks=True)]


def oddities(items: Iterable[Item], facts: Mapping[str, VideoInfo]) -> list[Finding]:
    """Fakes whose picture or rate differs from their original's, as some of FaceForensics++ do."""
    reals = Counter(item.original for item in items if not item.label)
    originals = {item.original: facts[item.key] for item in items if not item.label and reals[item.original] == 1}
    cut, faster = [], []
    for item in items:
        if item.label and item.original in originals:
            mine, real = facts[item.key], originals[item.original]
            if mine.width != real.width and mine.width == real.width // 16 * 16:
                cut.append(item.key)
            if mine.fps and real.fps and abs(mine.fps - real.fps) > 0.01 * real.fps:
                faster.append(item.key)
    return [
        Finding("width", "fakes are cut to a width that is a multiple of 16", tuple(cut), "known; nothing to mend"),
        Finding("rate", "fakes have another frame rate than their original", tuple(faster), "known; nothing to mend"),
    ]


def faceless(items: Iterable[Item], rows: Mapping[str, Result]) -> list[Finding]:
    """Fakes in which no face was found when they were scored."""
    keys = [item.key for item in items if item.label and rows[item.key].status == Status.NO_FACE]
    mend = "five of FaceForensics++ are known for it; they count as .5, and `overall_scored` leaves them out"
    return [Finding("no face", "fakes show no face", tuple(keys), mend)] if keys else []


def counts(items: Iterable[Item]) -> str:
    """How many videos of each class and manipulation there are, as text."""
    found = Counter(item.manipulation or "real" for item in items)
    return ", ".join(f"{number} {name}" for name, number in found.items())
