"""The rows of a submission, one per line of `submission.jsonl`: a video's label, its status, what they come from."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from common.files import write_table, write_text
from common.status import UNREADABLE, Status
from faces.failures import failure
from faces.notes import faces_in, filled_in
from inference.calibration import Judgement
from inference.members import Member
from inference.sampling.conditions import Conditions
from inference.sampling.perturbed import FormRow
from inference.sampling.sampled import Sampled
from inference.scoring import NO_SCORE, NOT_FINITE, Ensemble, Score, Vote, ensemble

VERDICT_COLUMNS = ("filename", "verdict", "label", "false_positive_rate_percent", "status", "meaning")


@dataclass(frozen=True)
class ShotRow:
    """A shot of a video: its place, what it shows, and its score as if it were a video."""

    number: int  # from 1
    start: float  # of its first frame that was sampled, in seconds of a player's clock
    end: float  # of its last
    first_frame: int  # of the video, from 0
    last_frame: int
    frames: int  # sampled
    face_frames: int
    faces: int
    label: float
    status: Status
    reason: str
    verdict: str = ""


@dataclass(frozen=True)
class FaceRow:
    """A tracked face of a video, scored as if it were the only one."""

    number: int  # from 1, the one seen longest first
    score: float | None
    rule: str  # that made the score
    decides: bool  # whether the video's label depends on it
    members: dict[str, float | None]
    detections: int
    first: float  # when it is first seen, in seconds of a player's clock
    last: float
    groups: tuple[float, ...] = ()  # score of each group of five frames, the image members' weighted mean


@dataclass(frozen=True)
class Row:
    """A video in a submission. Scores are probabilities of FAKE in [0, 1]; None means no score."""

    filename: str
    label: float  # .5 unless the status is ok
    status: Status
    reason: str  # the rule that made the label, or what went wrong
    frames: int  # sampled frames, with --shots of the shot that decides; of a decode_error those decoded before it
    faces: int  # tracked faces, at most two
    members: dict[str, float | None]
    image: float | None  # score of the branch
    video: float | None
    seconds: dict[str, float]  # of a core, by stage
    run: str = ""  # digest of members, weights and options: rows of one run agree
    left_out: tuple[str, ...] = ()  # members without a checkpoint, which --allow-missing left out
    face_frames: int = 0  # sampled frames that show a face
    detections: int = 0  # of faces in them
    not_scored: int = 0  # detections that belong to no tracked face
    notes: tuple[str, ...] = ()  # what a person should know of how the file was read, and of the faces in it
    shots: tuple[ShotRow, ...] = ()  # with --shots
    not_finite: tuple[str, ...] = ()  # members whose networks gave no finite number, so that they were left out
    each_face: tuple[FaceRow, ...] = ()  # with --shots, those of the shot that decides
    false_positive_rate: float | None = None  # the least at which it would be called fake: that of `judgement`
    verdict: str = ""  # what the label is called; see verdicts.py
    conditions: Conditions | None = None  # how it shows the faces that decide
    judgement: Judgement | None = None  # what the calibration says; None if the members have none
    forms: tuple[FormRow, ...] = ()  # with --stability: how other forms of the video score
    stability: str = ""  # the same in words
    by_known: dict[str, str] = field(default_factory=dict)  # what became of the `mask` and the `boxes` that were known

    def to_json(self) -> dict[str, Any]:
        """The row as `submission.jsonl` holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Self:
        """Read a row back. Raises TypeError or ValueError if it is not a row."""
        shots = tuple(ShotRow(**shot | {"status": Status(shot["status"])}) for shot in row.get("shots", ()))
        faces = tuple(FaceRow(**face | {"groups": tuple(face.get("groups", ()))}) for face in row.get("each_face", ()))
        whole = {
            name: None if row.get(name) is None else kind(**row[name])
            for name, kind in (("conditions", Conditions), ("judgement", Judgement))
        }
        forms = tuple(FormRow(**form) for form in row.get("forms", ()))
        lists = {name: tuple(row.get(name, ())) for name in ("left_out", "notes", "not_finite")}
        parts = {"status": Status(row["status"]), "shots": shots, "each_face": faces, "forms": forms}
        return cls(**row | parts | lists | whole)

    @property
    def is_remarkable(self) -> bool:
        """Whether a person should be told of the notes at once."""
        few_faces = 0 < 2 * self.face_frames <= self.frames
        return len(self.notes) > len(face_notes(self)) or few_faces or 4 * self.not_scored > self.detections


def statuses(rows: Iterable[Row]) -> str:
    """How many rows have each status, such as `4 ok, 1 missing`."""
    return ", ".join(f"{count} {status}" for status, count in Counter(row.status for row in rows).items())


def exit_status(rows: Iterable[Row]) -> int:
    """1 if a video could not be read or scored, else 0."""
    return int(any(row.status in UNREADABLE for row in rows))


def combine(members: Mapping[str, Member], scores: Mapping[str, Score]) -> Ensemble:
    """Combine the members' scores of a video."""
    return ensemble({name: Vote(member.branch, member.weight, scores[name].value) for name, member in members.items()})


def failed_row(name: str, error: Exception, members: Iterable[str]) -> Row:
    """The row of a video that failed with one of `common.stage.FAILURES`."""
    status, reason, frames = failure(error, other=Status.DECODE_ERROR)
    return _unscored(name, status, reason, frames, dict.fromkeys(members), {})


def face_notes(row: Row) -> tuple[str, ...]:
    """What the faces in a video's sampled frames leave open."""
    said = []
    if 0 < row.face_frames < row.frames:
        said.append(faces_in(row.face_frames, row.frames))
    if row.not_scored:
        said.append(f"{row.not_scored} of {row.detections} detections not scored")
    return tuple(said)


def highest_of(parts: list[Row]) -> tuple[int, Row]:
    """Which of a video's rows, one for each shot, has the highest score, and the video's row with all of them.

    Rows with a score come first, then those with most frames that show a face. A video that was not cut has one row.
    """
    best = max(
        range(len(parts)), key=lambda at: (parts[at].status == Status.OK, parts[at].label, parts[at].face_frames)
    )
    row = parts[best]
    if len(parts) == 1:
        return best, row
    (shot,) = row.shots
    which = f"shot {shot.number}, {shot.start:.2f} to {shot.end:.2f} s"
    scored = sum(part.status == Status.OK for part in parts)
    which += f", the highest of {scored} with a score" if scored else f", none of {len(parts)} has a score"
    stages = {stage for part in parts for stage in part.seconds}
    return best, replace(
        row,
        reason=f"{which}: {row.reason}",
        shots=tuple(one for part in parts for one in part.shots),
        seconds={stage: round(sum(part.seconds.get(stage, 0.0) for part in parts), 2) for stage in stages},
    )


def scored_row(
    name: str, members: Mapping[str, Member], sampled: Sampled, scores: Mapping[str, Score], result: Ensemble
) -> Row:
    """The row of a video that could be read, or of one of its shots."""
    values = {member: score.value for member, score in scores.items()}
    value, showing = result.final.value, sampled.face_frames
    not_finite = tuple(member for member, score in scores.items() if score.rule == NOT_FINITE)
    if not sampled.faces:
        status, reason = Status.NO_FACE, f"{sampled.voted_frames} of {sampled.frames} sampled frames show no face"
        reason += f"; {faces_in(showing, sampled.frames)}" if showing else ""
    elif value is None and not_finite:
        status, reason = Status.NOT_FINITE, f"{', '.join(not_finite)}: {NOT_FINITE}"
    elif value is None and sampled.info.still:
        status, reason = Status.TOO_FEW_FRAMES, "a picture, and no image member to score it"
    elif value is None:
        status, reason = Status.TOO_FEW_FRAMES, f"{sampled.frames} sampled frame{'s' * (sampled.frames > 1)}"
    else:
        status, reason = Status.OK, result.final.rule
    row = replace(
        _unscored(name, status, reason, sampled.frames, values, sampled.seconds),
        label=NO_SCORE if value is None or not sampled.faces else value,
        faces=len(sampled.faces),
        image=result.image.value,
        video=result.video.value,
        face_frames=showing,
        detections=sampled.detections,
        not_scored=sampled.other_detections,
        not_finite=not_finite,
        each_face=face_rows(members, sampled, scores),
        conditions=sampled.conditions,
        by_known=sampled.by_known,
    )
    filled = filled_in(sampled.concealed, sampled.total)
    without = f"left out {', '.join(not_finite)}: {NOT_FINITE}"
    notes = (*sampled.info.notes, *[filled] * bool(sampled.concealed), *[without] * bool(not_finite), *face_notes(row))
    return replace(row, notes=notes, shots=shot_rows(row, sampled))


def face_rows(members: Mapping[str, Member], sampled: Sampled, scores: Mapping[str, Score]) -> tuple[FaceRow, ...]:
    """The rows of a video's faces, each scored as if it were the only one."""
    rows = []
    for at, face in enumerate(sampled.faces):
        mine = {name: score.parts[at] if score.parts else score for name, score in scores.items()}
        final = combine(members, mine).final
        seen = [sampled.timing.times[found.frame] for found in (face.track[0], face.track[-1])]
        values = {name: score.value for name, score in mine.items()}
        first, last = (round(time, 3) for time in seen)
        groups = group_scores(members, mine)
        rows.append(
            FaceRow(at + 1, final.value, final.rule, face.decides, values, len(face.track), first, last, groups)
        )
    return tuple(rows)


def group_scores(members: Mapping[str, Member], scores: Mapping[str, Score]) -> tuple[float, ...]:
    """The weighted mean of a face's groups over the image members that have a score of them."""
    images = {name: score for name, score in scores.items() if members[name].branch == "image" and score.parts}
    if not images:
        return ()
    values = np.array([[part.value for part in score.parts] for score in images.values()], float)
    means = np.average(values, axis=0, weights=[members[name].weight for name in images])
    return tuple(round(float(value), 8) for value in means)


def shot_rows(row: Row, sampled: Sampled) -> tuple[ShotRow, ...]:
    """The row of a shot, as its video's row holds it; none for a video that was not cut."""
    if sampled.shot is None:
        return ()
    number, _, first, last = sampled.shot
    start, end = sampled.timing.times[0], sampled.timing.times[-1]
    return (
        ShotRow(
            *(number, round(start, 3), round(end, 3), first, last, row.frames, row.face_frames, row.faces),
            *(row.label, row.status, row.reason),
        ),
    )


def _unscored(
    name: str,
    status: Status,
    reason: str,
    frames: int,
    members: dict[str, float | None],
    seconds: Mapping[str, float],
) -> Row:
    """A row without a score: its label is .5."""
    return Row(
        filename=name,
        label=NO_SCORE,
        status=status,
        reason=reason,
        frames=frames,
        faces=0,
        members=members,
        image=None,
        video=None,
        seconds={stage: round(spent, 2) for stage, spent in seconds.items()},
    )


def read_rows(path: Path) -> list[Row]:
    """The rows of a `.jsonl` that `write_submission` wrote."""
    return [Row.from_json(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def write_submission(output: Path, rows: Iterable[Row]) -> None:
    """Write the CSV and the `.jsonl` beside it, atomically, CSV last.

    The CSV is UTF-8: of a name that is not, it has the form of `utf8_name`, and a line on stderr says so.
    """
    rows = list(rows)
    names = [utf8_name(row.filename) for row in rows]
    if changed := sum(name != row.filename for name, row in zip(names, rows, strict=True)):
        print(f"{output}: {changed} names are not UTF-8, their other bytes stand as %FF there", file=sys.stderr)
    write_text(output.with_suffix(".jsonl"), "".join(json.dumps(row.to_json()) + "\n" for row in rows))
    labels = [f"{row.label:.8f}" for row in rows]
    write_table(output, [("filename", "label"), *zip(names, labels, strict=True)])


def write_verdicts(output: Path, rows: Iterable[Row]) -> None:
    """Write `<output>.verdicts.csv`, for people: what each label is called, and its false-positive rate in percent."""
    lines = [
        (
            *(utf8_name(row.filename), row.verdict, f"{row.label:.4f}"),
            "" if row.false_positive_rate is None else f"{100 * row.false_positive_rate:.2f}",
            *(row.status, row.judgement.words if row.judgement else ""),
        )
        for row in rows
    ]
    write_table(output.with_suffix(".verdicts.csv"), [VERDICT_COLUMNS, *lines])


def utf8_name(name: str) -> str:
    """A file name as UTF-8 can hold it: bytes that are not UTF-8, and in such a name also %, percent-encoded."""
    if not any(0xDC80 <= ord(letter) <= 0xDCFF for letter in name):
        return name
    escaped = name.replace("%", "%25")
    return "".join(f"%{ord(one) - 0xDC00:02X}" if 0xDC80 <= ord(one) <= 0xDCFF else one for one in escaped)
