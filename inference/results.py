"""What a video was found to be: one immutable result, from which rows, evidence and pages are made, and its files.

`submission.csv` holds names and labels. `submission.jsonl` holds each result as a row: `Result.to_row` makes it,
`Result.from_row` reads it back. `submission.verdicts.csv` says for people what each label is called.
"""

import json
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from common.errors import BadInputError
from common.files import atomic_file, file_beside, write_table, write_table_for_people
from common.status import UNREADABLE, Status
from inference.sampling.sampled import Conditions
from inference.verdicts import BY_RATE, BY_SCORE, REFERENCE, Judgement, VerdictName

if TYPE_CHECKING:
    from inference.evidence.case import Case
    from inference.evidence.facts import Evidence

SCHEMA = 1  # of a row
RENAMED = {"perturbed": "forms", "chosen_by": "by_known"}  # fields with another name in a row
VERDICT_COLUMNS = ("filename", "verdict", "label", "false_positive_rate_percent", "status", "meaning")


@dataclass(frozen=True)
class FaceResult:
    """A tracked face, scored as if it were the only one.

    `times` (seconds on a player's clock) and `boxes` (x1, y1, x2, y2 in pixels) are those of its detections. Rows leave
    them out.
    """

    number: int  # from 1, longest seen first
    score: float | None
    rule: str  # that made the score
    decides: bool  # whether the video's label depends on it
    members: dict[str, float | None]
    detections: int
    first: float  # when it is first seen, in seconds on a player's clock
    last: float
    groups: tuple[float, ...] = ()  # score of each group of five frames: the image members' weighted mean
    times: tuple[float, ...] = ()
    boxes: tuple[tuple[int, int, int, int], ...] = ()


@dataclass(frozen=True)
class ShotResult:
    """A shot of a video: where it is, what it shows, and its score as if it were a video."""

    number: int  # from 1
    start: float  # time of its first sampled frame, in seconds on a player's clock
    end: float  # time of its last sampled frame
    first_frame: int  # counted from 0 in the video
    last_frame: int
    frames: int  # sampled
    face_frames: int
    faces: int
    label: float
    status: Status
    reason: str
    verdict: VerdictName = VerdictName.NOT_SCORED


@dataclass(frozen=True)
class PerturbedResult:
    """The score of a perturbed version of a video: its label, verdict and false-positive rate."""

    name: str
    label: float | None
    verdict: VerdictName
    false_positive_rate: float | None


@dataclass(frozen=True)
class Result:
    """What a video or still image was found to be. Scores are in [0, 1], 1 for FAKE; None means no score."""

    filename: str  # the name under which it was scored
    label: float  # 0.5 unless the status is ok
    status: Status
    reason: str  # the rule that made the label, or what went wrong
    frames: int  # sampled (with --shots in the shot that decides); for a decode_error, decoded before the error
    faces: tuple[FaceResult, ...]  # with --shots, in the shot that decides
    members: dict[str, float | None]
    image: float | None  # score of the image branch
    video: float | None  # score of the video branch
    seconds: dict[str, float]  # of one core, by stage
    run: str = ""  # digest of members, weights and options
    software: str = ""  # version and commit; empty in rows of before 0.1.0
    left_out: tuple[str, ...] = ()  # members without a checkpoint, which --allow-missing left out
    face_frames: int = 0  # sampled frames that show a face
    detections: int = 0  # face boxes in the sampled frames
    not_scored: int = 0  # detections that belong to no scored face
    notes: tuple[str, ...] = ()  # what a person should know about how the file was read and about its faces
    shots: tuple[ShotResult, ...] = ()  # with --shots
    not_finite: tuple[str, ...] = ()  # members left out because their networks gave no finite number
    false_positive_rate: float | None = None  # the share of real faces that score as high: that of `judgement`
    verdict: VerdictName = VerdictName.NOT_SCORED  # what the label is called (inference.verdicts)
    conditions: Conditions | None = None  # how the video shows the faces that decide
    judgement: Judgement | None = None  # what the calibration says; None if the members have no calibration
    perturbed: tuple[PerturbedResult, ...] = ()  # with --stability
    stability: str = ""  # the same in a sentence
    sha256: str | None = None  # with evidence: that of the file; None if it is missing
    policy: str = REFERENCE  # which frames were scored: one of inference.verdicts.POLICIES
    chosen_by: dict[str, str] = field(default_factory=dict)  # why these faces were scored, if a mask chose them
    path: Path | None = None  # None if the result was read from a row
    evidence: "Evidence | None" = None  # what the result rests on, if evidence was asked for

    def to_row(self, boxes: bool = False) -> dict[str, Any]:
        """The result as a line of `submission.jsonl`; with `boxes` also the times and boxes of each face."""
        row = asdict(replace(self, evidence=None))
        each_face = row.pop("faces")
        for face in () if boxes else each_face:
            del face["times"], face["boxes"]
        del row["path"], row["evidence"]
        renamed = {name: row.pop(field) for field, name in RENAMED.items()}
        return {"schema": SCHEMA, **row, "faces": len(each_face), "each_face": each_face, **renamed}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a row back. Raises TypeError, KeyError or ValueError if it is not one."""
        values = dict(row)
        values.pop("schema", None)
        faces, perturbed = values.pop("each_face", ()), values.pop("forms", ())
        values |= {name: tuple(values.get(name, ())) for name in ("left_out", "notes", "not_finite")}
        for name, kind in (("conditions", Conditions), ("judgement", Judgement)):
            values[name] = None if values.get(name) is None else kind(**values[name])
        values["status"] = Status(values["status"])
        values["verdict"] = VerdictName(values.get("verdict") or VerdictName.NOT_SCORED)
        values["chosen_by"] = values.pop("by_known", {})
        values["faces"] = tuple(FaceResult(**face | {"groups": tuple(face.get("groups", ()))}) for face in faces)
        values["shots"] = tuple(
            ShotResult(**shot | {"status": Status(shot["status"]), "verdict": VerdictName(shot["verdict"])})
            for shot in values.get("shots", ())
        )
        values["perturbed"] = tuple(
            PerturbedResult(**version | {"verdict": VerdictName(version["verdict"])}) for version in perturbed
        )
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """The row, with the times and boxes of each face."""
        return self.to_row(boxes=True)

    def page(self) -> str:
        """The evidence as an HTML page. Raises BadInputError if the video was scored without evidence."""
        from inference.evidence.pages import page  # loads the templates, which plain scoring does without

        return page(self)

    def texts(self) -> dict[str, str]:
        """The texts of the evidence's files, by suffix. Raises BadInputError for a video scored without evidence."""
        from inference.evidence.pages import texts_of

        return texts_of(self)

    def save_evidence(self, folder: Path | str, case: "Case | None" = None) -> None:
        """Write the evidence: JSON, page and digests, for a case if there is one.

        Raises BadInputError if the video was scored without evidence.
        """
        from inference.evidence.pages import required_evidence, save

        save(replace(self, evidence=replace(required_evidence(self), case=case)), Path(folder))


def statuses(results: Iterable[Result]) -> str:
    """How many results have each status, such as `4 ok, 1 missing`."""
    return ", ".join(f"{count} {status}" for status, count in Counter(result.status for result in results).items())


def verdicts(results: Iterable[Result]) -> str:
    """How many results have each verdict, the rarest scores first, such as `2 likely fake, 40 uncertain`."""
    counts = Counter(result.verdict for result in results)
    order = [named.name for named in (*BY_RATE, *BY_SCORE)]
    known = sorted(counts, key=lambda name: order.index(name) if name in order else len(order))
    return ", ".join(f"{counts[name]:,} {name}" for name in known)


def exit_status(results: Iterable[Result]) -> int:
    """1 if a video could not be read or scored, else 0."""
    return int(any(result.status in UNREADABLE for result in results))


class StoredResults(Mapping[str, Result]):
    """The results in `.jsonl` files that `write_submission` wrote, by file name. Each is read when it is asked for.

    Only their offsets are in memory. The files stay open as long as this object lives, so it does not matter if they
    are moved or replaced meanwhile.
    """

    def __init__(self, places: Mapping[str, tuple[BinaryIO, int]]) -> None:
        """Take the file of each row, and the row's offset in bytes."""
        self.places = places

    def __getitem__(self, name: str) -> Result:
        file, offset = self.places[name]
        file.seek(offset)
        return Result.from_row(json.loads(file.readline()))

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def read_results(*paths: Path) -> StoredResults:
    """The results in these files, by name; of several with one name the last.

    Raises BadInputError naming the first line that is not a row.
    """
    places = {}
    for path in paths:
        file = path.open("rb")
        for number, (offset, row) in enumerate(rows_in(file), start=1):
            try:
                places[Result.from_row(row).filename] = file, offset
            except (TypeError, KeyError, ValueError) as error:
                raise BadInputError(f"{path}:{number} is not a row of inference.predict: {error!r}") from error
    return StoredResults(places)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows in a `.jsonl` file as they are. Raises BadInputError naming the first line that is not a row."""
    with path.open("rb") as file:
        return [row for _, row in rows_in(file)]


def rows_in(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row in an open `.jsonl` file, after its offset in bytes.

    Raises BadInputError naming the first line that is not a row with a file's name and its status.
    """
    offset = 0
    for number, line in enumerate(file, start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise BadInputError(f"{file.name}:{number} is not a row of inference.predict: {error}") from error
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("filename", "status")):
            raise BadInputError(f"{file.name}:{number} is not a row of inference.predict")
        yield offset, row
        offset += len(line)


def write_submission(output: Path, results: Iterable[Result]) -> StoredResults:
    """Write the CSV and the `.jsonl` beside it, atomically, the CSV last; return the results as they are stored.

    The CSV is UTF-8. A name that is not UTF-8 is written there as `utf8_name` gives it, and a line on stderr says so.
    """
    offsets, labels, end, changed = {}, [("filename", "label")], 0, 0
    with atomic_file(file_beside(output, ".jsonl")) as temporary:
        with temporary.open("w", encoding="utf-8") as file:
            for result in results:
                name, line = utf8_name(result.filename), json.dumps(result.to_row()) + "\n"  # JSON's escapes are ASCII
                file.write(line)
                offsets[result.filename] = end
                labels.append((name, label_text(result)))
                end += len(line)
                changed += name != result.filename
        stored = temporary.open("rb")
    if changed:
        print(f"{output}: {changed} names are not UTF-8; their other bytes are written as %FF", file=sys.stderr)
    write_table(output, labels)
    return StoredResults({name: (stored, offset) for name, offset in offsets.items()})


def label_text(result: Result) -> str:
    """A label as submission.csv has it."""
    return f"{result.label:.8f}"


def write_verdicts(output: Path, results: Iterable[Result]) -> None:
    """Write `<output>.verdicts.csv`, for people: each label with its verdict and its false-positive rate in percent."""
    rows = chain([VERDICT_COLUMNS], map(verdict_row, results))
    write_table_for_people(file_beside(output, ".verdicts.csv"), rows)


def verdict_row(result: Result) -> tuple[str, ...]:
    """A result's cells of VERDICT_COLUMNS."""
    rate = "" if result.false_positive_rate is None else f"{100 * result.false_positive_rate:.2f}"
    meaning = result.judgement.words if result.judgement else ""
    if result.policy != REFERENCE:
        meaning = f"by {result.policy}: {meaning}" if meaning else f"by {result.policy}"
    return utf8_name(result.filename), result.verdict, f"{result.label:.4f}", rate, result.status, meaning


def printable(name: str) -> str:
    """A file name for a terminal: as `utf8_name`, and with escapes such as \\x1b for what would move its cursor."""
    hidden = ("Cc", "Cf", "Zl", "Zp")  # control and formatting characters, ends of lines and paragraphs
    return "".join(
        letter.encode("unicode_escape").decode() if unicodedata.category(letter) in hidden else letter
        for letter in utf8_name(name)
    )


def utf8_name(name: str) -> str:
    """A file name in UTF-8: bytes that are not UTF-8 are percent-encoded, and in such a name also each %."""
    if not any(0xDC80 <= ord(letter) <= 0xDCFF for letter in name):
        return name
    escaped = name.replace("%", "%25")
    return "".join(f"%{ord(letter) - 0xDC00:02X}" if 0xDC80 <= ord(letter) <= 0xDCFF else letter for letter in escaped)
