"""The rows of a submission, one per line of `submission.jsonl`: a video's label, its status, what they come from."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from common.atomic import write_table, write_text
from common.status import UNREADABLE, Status
from faces.failures import failure
from inference.members import Member
from inference.sampled import Sampled
from inference.scoring import NO_SCORE, Ensemble, Score, Vote, ensemble


@dataclass(frozen=True)
class Row:
    """A video in a submission. Scores are probabilities of FAKE in [0, 1]; None means no score."""

    filename: str
    label: float  # .5 unless the status is ok
    status: Status
    reason: str  # the rule that made the label, or what went wrong
    frames: int  # sampled frames; of a decode_error those that could be decoded before it
    faces: int  # tracked faces, at most two
    members: dict[str, float | None]
    image: float | None  # score of the branch
    video: float | None
    seconds: dict[str, float]  # of a core, by stage
    run: str = ""  # digest of members, weights and options: rows of one run agree
    left_out: tuple[str, ...] = ()  # members without a checkpoint, which --allow-missing left out

    def to_json(self) -> dict[str, Any]:
        """The row as `submission.jsonl` holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Self:
        """Read a row back. Raises TypeError or ValueError if it is not a row."""
        return cls(**row | {"status": Status(row["status"]), "left_out": tuple(row.get("left_out", ()))})


def statuses(rows: Iterable[Row]) -> str:
    """How many rows have each status, such as `4 ok, 1 missing`."""
    return ", ".join(f"{count} {status}" for status, count in Counter(row.status for row in rows).items())


def exit_status(rows: Iterable[Row]) -> int:
    """1 if a video could not be read, else 0."""
    return int(any(row.status in UNREADABLE for row in rows))


def combine(members: Mapping[str, Member], scores: Mapping[str, Score]) -> Ensemble:
    """Combine the members' scores of a video."""
    return ensemble({name: Vote(member.branch, member.weight, scores[name].value) for name, member in members.items()})


def failed_row(name: str, error: Exception, members: Iterable[str]) -> Row:
    """The row of a video that failed with one of `common.stage.FAILURES`."""
    status, reason, frames = failure(error, other=Status.DECODE_ERROR)
    return _unscored(name, status, reason, frames, dict.fromkeys(members), {})


def scored_row(name: str, sampled: Sampled, scores: Mapping[str, Score], result: Ensemble) -> Row:
    """The row of a video that could be read."""
    values = {member: score.value for member, score in scores.items()}
    if not sampled.faces:
        reason = f"{sampled.voted_frames} of {sampled.frames} sampled frames show no face"
        return _unscored(name, Status.NO_FACE, reason, sampled.frames, values, sampled.seconds)
    reason = f"{sampled.frames} sampled frames"
    row = _unscored(name, Status.TOO_FEW_FRAMES, reason, sampled.frames, values, sampled.seconds)
    row = replace(row, faces=len(sampled.faces))
    if result.final.value is None:
        return row
    return replace(
        row,
        label=result.final.value,
        status=Status.OK,
        reason=result.final.rule,
        image=result.image.value,
        video=result.video.value,
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
    """Write the CSV and the `.jsonl` beside it, atomically, CSV last."""
    rows = list(rows)
    write_text(output.with_suffix(".jsonl"), "".join(json.dumps(row.to_json()) + "\n" for row in rows))
    write_table(output, [("filename", "label"), *((row.filename, f"{row.label:.8f}") for row in rows)])
