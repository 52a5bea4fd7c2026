"""A file that the server scores: its names, where it is, and how its scoring ended."""

import asyncio
import json
import re
import secrets
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints
from zipfile import ZipFile

from common.files import atomic_file, write_text
from common.status import Status
from inference.evidence.bundle import write_bundle
from inference.evidence.case import Case
from inference.results import Result
from inference.scorer import Progress
from inference.verdicts import VerdictName

LONGEST_NAME = 200  # characters


class State(StrEnum):
    """How far a job is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    LOST = "lost"
    TOO_LONG = "too long"
    FAILED = "failed"


MEANINGS = {  # of the states, for the documentation of the API
    State.WAITING: "it waits for its turn",
    State.RUNNING: "it is being scored",
    State.DONE: "it was examined. `status` says whether it got a score: unless that is `ok`, as for a file that is not "
    "a video or shows no face, `label` is 0.5 and means nothing",
    State.CANCELLED: "a client cancelled it",
    State.LOST: "the server ended before it was examined: send it again",
    State.TOO_LONG: "it took more seconds of work than the server allows",
    State.FAILED: "a bug in the server, or no space for the result",
}


UNFINISHED = (State.WAITING, State.RUNNING)
KINDS = ("json", "zip", "job")  # the files of a job in the folder of its result


class Outcome(NamedTuple):
    """How a job ended. Everything after the reason is None unless the job is done."""

    state: State
    reason: str
    status: Status | None = None
    label: float | None = None
    verdict: VerdictName | None = None
    false_positive_rate: float | None = None
    meaning: str | None = None
    faces: int | None = None


@dataclass(eq=False)
class Job:
    """A file to score. `name` is what the client calls it and is only displayed; the name in `path` is random.

    `results` is the folder of its result.
    """

    id: str
    name: str
    path: Path
    results: Path
    case: Case | None = None
    state: State = State.WAITING
    progress: Progress | None = None
    outcome: Outcome | None = None
    is_cancelled: bool = False
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    def to_json(self) -> dict[str, Any]:
        """The job as the API gives it."""
        progress = self.progress or Progress("", 0, None)
        outcome = self.outcome or Outcome(self.state, "")
        return {"id": self.id, "name": self.name, **progress._asdict(), **outcome._asdict(), "state": self.state}

    def file(self, kind: str) -> Path:
        """Where its file of one of KINDS is."""
        return self.results / f"{self.id}.{kind}"

    @property
    def bundle(self) -> Path:
        """Where its evidence is, once it is done: a file of `inference.evidence.bundle`."""
        return self.file("zip")

    @property
    def page(self) -> bytes:
        """The page of its evidence. Raises FileNotFoundError if something else has removed it."""
        with ZipFile(self.bundle) as bundle:
            return bundle.read(f"{self.name}.html")

    @property
    def result(self) -> Path:
        """Where the JSON of its result is, once it is done."""
        return self.file("json")

    def note(self, state: State, reason: str) -> None:
        """Write down how it will have ended if no result is written: for a server that comes after this one."""
        write_text(self.file("job"), json.dumps({"name": self.name, "state": state, "reason": reason}))


def clean_name(name: str) -> str:
    """The name that a client gave a file, for display: the last part of a path, printable, not too long."""
    last = re.split(r"[/\\]", name)[-1].strip()
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in last)[:LONGEST_NAME] or "unnamed"


def clean_suffix(name: str) -> str:
    """The suffix of a file's name if it is letters and digits, else ""."""
    suffix = re.search(r"\.[A-Za-z0-9]{1,8}$", name)
    return suffix[0].lower() if suffix else ""


# The types of what `Job.to_json` gives, by name.
JOB_TYPES = {"id": str, "name": str, **get_type_hints(Progress), **get_type_hints(Outcome)}


def new_id() -> str:
    """A random name, which nobody can guess."""
    return secrets.token_hex(16)


def new_job(name: str, folder: Path, results: Path, case: Case | None = None) -> Job:
    """A job for a file that will be written to `folder`, under a random name with the client's clean suffix."""
    job_id = new_id()
    return Job(job_id, clean_name(name), folder / f"{job_id}{clean_suffix(name)}", results, case)


def write_result(job: Job, result: Result) -> Outcome:
    """Write a job's evidence and then its row. In both, the file has its name instead of its path on the server."""
    result = renamed(result, job)
    job.results.mkdir(mode=0o700, parents=True, exist_ok=True)  # a cleaner of old files may have removed it
    contents = {suffix: text.encode(errors="replace") for suffix, text in result.texts().items()}
    write_bundle(job.bundle, job.name, contents)
    with atomic_file(job.result) as temporary:
        temporary.write_text(json.dumps(result.to_row(), allow_nan=False), encoding="utf-8")
    return outcome_of(result)


def renamed(result: Result, job: Job) -> Result:
    """A job's result under its name, wherever the path on the server stood, and for its case."""
    path, name = str(job.path), job.name
    evidence = result.evidence and replace(
        result.evidence,
        input=replace(result.evidence.input, path=name),
        conclusion=[sentence.replace(path, name) for sentence in result.evidence.conclusion],
        case=job.case,
    )
    notes = tuple(note.replace(path, name) for note in result.notes)
    return replace(result, path=Path(name), reason=result.reason.replace(path, name), notes=notes, evidence=evidence)


def outcome_of(result: Result) -> Outcome:
    """How a job with this result ended."""
    return Outcome(
        state=State.DONE,
        reason=result.reason,
        status=result.status,
        label=result.label,
        verdict=result.verdict,
        false_positive_rate=result.false_positive_rate,
        meaning=result.judgement.words if result.judgement else None,
        faces=len(result.faces),
    )
