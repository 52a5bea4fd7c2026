"""The check of a copy of a data set: what is wrong with it, before anything is scored.

Missing, empty, unreadable and extra files; identities or originals on both sides of a split; the same content under two
labels; labels in the list that contradict the folders; and, for FaceForensics++, fakes whose width is cut to a multiple
of 16 or whose frame rate differs from their original's.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.files import sha256
from common.status import Status
from common.workers import Workers, patience
from faces.video import VideoInfo, probe
from inference.results import Result
from quality.sets.items import Item

SHOWN = 10  # of a finding's keys are printed


@dataclass(frozen=True)
class Finding:
    """One kind of problem: what it is, in which files, what would help, and whether the set is incomplete by it."""

    kind: str
    what: str  # follows the number of files, as "files are empty"
    keys: tuple[str, ...]
    mend: str = ""
    breaks: bool = False

    def __str__(self) -> str:
        some = ", ".join(self.keys[:SHOWN]) + ", ..." * (len(self.keys) > SHOWN)
        return f"{self.kind}: {len(self.keys)} {self.what}: {some}" + (f"\n    {self.mend}" if self.mend else "")


def check_copy(
    root: Path, items: Sequence[Item], everything: Sequence[Item], extra: Sequence[str], fetch: str, workers: int
) -> list[Finding]:
    """Look at every file of the items, and at all splits (`everything`) for leaks; return what is wrong.

    `extra` are videos that the set should not hold. `fetch` says where missing files come from.
    """
    videos = {item.key: root / item.key for item in items if not item.frames}
    crops = {frame: root / frame for item in items for frame in item.frames}
    paths = videos | crops
    missing = [key for key, path in paths.items() if not path.is_file()]
    empty = [key for key, path in paths.items() if path.is_file() and not path.stat().st_size]
    unusable = {*missing, *empty}
    infos, unreadable = read_headers({key: path for key, path in videos.items() if key not in unusable}, workers)
    readable = [item for item in items if item.key in infos]
    again = f"remove them, then: {fetch}"
    findings = [
        Finding("missing", "files in the list are not on disk", tuple(missing), fetch, breaks=True),
        Finding("empty", "files are empty", tuple(empty), again, breaks=True),
        Finding("unreadable", "files are not readable videos", tuple(unreadable), again, breaks=True),
        Finding("extra", "videos do not belong to the set", tuple(extra), "they are not scored"),
        *leaks(everything),
        contradicted_labels(items),
        two_labels(root, readable),
        *oddities(readable, infos),
    ]
    return [finding for finding in findings if finding.keys]


def read_headers(paths: Mapping[str, Path], workers: int) -> tuple[dict[str, VideoInfo], list[str]]:
    """What the videos' headers say, by key, and the keys of the videos that cannot be read."""
    jobs = {key: (path,) for key, path in paths.items()}
    with Workers(min(workers, len(jobs))) as pool:
        outcomes = dict(
            pool.run_with_bar(probe, jobs, "check", seconds={key: patience(path) for key, path in paths.items()})
        )
    infos = {key: outcome for key, outcome in outcomes.items() if isinstance(outcome, VideoInfo)}
    return infos, sorted(outcomes.keys() - infos.keys())


def leaks(items: Sequence[Item]) -> list[Finding]:
    """Originals and identities that two splits share."""
    return [
        shared("originals", ((item.original, item.split) for item in items)),
        shared("identities", ((identity, item.split) for item in items for identity in item.identities)),
    ]


def shared(what: str, values: Iterable[tuple[str, str]]) -> Finding:
    """The values that have several splits."""
    splits: dict[str, set[str]] = defaultdict(set)
    for value, split in values:
        splits[value].add(split)
    keys = tuple(sorted(value for value, names in splits.items() if len(names) > 1))
    return Finding("leak", f"{what} are in two splits", keys, "measure on a split that shares none")


def contradicted_labels(items: Iterable[Item]) -> Finding:
    """Items whose label in the official list is not that of their folder."""
    wrong = tuple(item.key for item in items if item.listed is not None and item.listed != item.label)
    advice = "in Celeb-DF's list 1 means REAL; an inverted list contradicts every folder"
    return Finding("label", "labels in the list contradict the folder", wrong, advice, breaks=True)


def two_labels(root: Path, items: Iterable[Item]) -> Finding:
    """Videos that are, byte for byte, also in the set under the other label."""
    by_size: dict[int, list[Item]] = defaultdict(list)
    for item in items:
        by_size[(root / item.key).stat().st_size].append(item)
    by_content: dict[str, list[Item]] = defaultdict(list)
    for item in (item for same_size in by_size.values() if differ(same_size) for item in same_size):
        by_content[sha256(root / item.key)].append(item)
    keys = sorted(item.key for same in by_content.values() if differ(same) for item in same)
    return Finding("content", "files have the same content as a file of the other label", tuple(keys), breaks=True)


def differ(items: Iterable[Item]) -> bool:
    """Whether the items have different labels."""
    return len({item.label for item in items}) > 1


def oddities(items: Iterable[Item], infos: Mapping[str, VideoInfo]) -> list[Finding]:
    """Fakes whose width or frame rate differs from their original's, as those of some in FaceForensics++ do."""
    real = Counter(item.original for item in items if not item.label)
    originals = {item.original: infos[item.key] for item in items if not item.label and real[item.original] == 1}
    narrower, faster = [], []
    for item in items:
        if item.label and item.original in originals:
            fake, original = infos[item.key], originals[item.original]
            if fake.width != original.width and fake.width == original.width // 16 * 16:
                narrower.append(item.key)
            if fake.fps and original.fps and abs(fake.fps - original.fps) > 0.01 * original.fps:
                faster.append(item.key)
    known = "this is known; nothing needs to be done"
    return [
        Finding("width", "fakes are cut to a width that is a multiple of 16", tuple(narrower), known),
        Finding("rate", "fakes have another frame rate than their original", tuple(faster), known),
    ]


def faceless(items: Iterable[Item], results: Mapping[str, Result]) -> list[Finding]:
    """Fakes in which no face was found when they were scored; `results` by the items' keys."""
    keys = tuple(item.key for item in items if item.label and results[item.key].status == Status.NO_FACE)
    advice = "five of FaceForensics++ are known for it; they count as 0.5, and `overall_scored` leaves them out"
    return [Finding("no face", "fakes show no face", keys, advice)] if keys else []


def describe_counts(items: Iterable[Item]) -> str:
    """How many videos of each class and manipulation there are, as text."""
    counts = Counter(item.manipulation or "real" for item in items)
    return ", ".join(f"{number} {name}" for name, number in counts.items())
