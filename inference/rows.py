"""The rows of `submission.jsonl`: a video's label, its status, and what they come from."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from inference.members import Member
from inference.sampled import Sampled
from inference.scoring import NO_SCORE, Ensemble, Score, Vote, ensemble
from preprocessing.log import failure

Row = dict[str, Any]
FAILED = ("decode_error", "missing", "unsupported", "crashed")


def statuses(rows: Iterable[Row]) -> str:
    """How many rows have which status: `4 ok, 1 missing`."""
    return ", ".join(f"{count} {status}" for status, count in Counter(row["status"] for row in rows).items())


def exit_status(rows: Iterable[Row]) -> int:
    """1 if a video could not be read."""
    return int(any(row["status"] in FAILED for row in rows))


def combine(members: Mapping[str, Member], scores: Mapping[str, Score]) -> Ensemble:
    """The members' scores of a video put together."""
    return ensemble({name: Vote(member.branch, member.weight, scores[name].value) for name, member in members.items()})


def failed_row(name: str, error: Exception, members: Iterable[str]) -> Row:
    """The row of a video that failed with one of `common.stage.FAILURES`."""
    facts = failure(error)
    if facts["status"] == "write_error":  # nothing is written while a video is read: the error is of reading it
        facts["status"] = "decode_error"
    return row(name, facts["status"], facts["reason"], facts["frames"], dict.fromkeys(members), {})


def scored_row(name: str, sampled: Sampled, scores: Mapping[str, Score], result: Ensemble) -> Row:
    """The row of a video that could be read."""
    values = {member: score.value for member, score in scores.items()}
    if not sampled.faces:
        reason = f"{sampled.voted_frames} of {sampled.frames} sampled frames show no face"
        return row(name, "no_face", reason, sampled.frames, values, sampled.seconds)
    facts = {"faces": len(sampled.faces)}
    if result.final.value is None:
        status, reason = "too_few_frames", f"{sampled.frames} sampled frames"
        return row(name, status, reason, sampled.frames, values, sampled.seconds) | facts
    facts |= {"label": result.final.value, "image": result.image.value, "video": result.video.value}
    return row(name, "ok", result.final.rule, sampled.frames, values, sampled.seconds) | facts


def row(
    name: str, status: str, reason: str, frames: int, members: Mapping[str, float | None], seconds: Mapping[str, float]
) -> Row:
    """A row without a score: its label is .5."""
    return {
        "filename": name,
        "label": NO_SCORE,
        "status": status,
        "reason": reason,
        "frames": frames,
        "faces": 0,
        "members": dict(members),
        "image": None,
        "video": None,
        "seconds": {stage: round(spent, 2) for stage, spent in seconds.items()},
    }
