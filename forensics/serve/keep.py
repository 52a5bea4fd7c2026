"""Results that outlive the server, in the folder of --keep: what an earlier server left there.

A result is two files, its evidence `<id>.zip` and its row `<id>.json`, which is written last. `<id>.batch` names the
files of a batch. Other files in the folder are left alone.
"""

import json
import re
from pathlib import Path

from common.errors import BadInputError
from forensics.serve.batch import Batch
from forensics.serve.job import Job, Outcome, State, outcome_of
from inference.results import Result

OURS = re.compile(
    r"(?P<id>[0-9a-f]{32})\.(?P<kind>json|zip|batch)|(?P<partial>\.[0-9a-f]{32}\..+\.tmp\.(json|zip|batch))"
)
LOST = Outcome(State.CANCELLED, "lost when the server ended: send it again")


def read_results(folder: Path) -> tuple[list[Job], list[Batch]]:
    """The jobs in a folder, the oldest result first, and the batches; what a killed server left half done is removed.

    A file of a batch that has no result was lost when the server ended, and its job says so. Raises BadInputError for
    a file that cannot be read.
    """
    names = [name for path in folder.iterdir() if (name := OURS.fullmatch(path.name))]
    of_kind = {kind: {name["id"] for name in names if name["kind"] == kind} for kind in ("json", "zip", "batch")}
    for name in names:
        if name["partial"] or (name["kind"] == "zip" and name["id"] not in of_kind["json"]):
            (folder / name[0]).unlink()
    jobs = {job_id: read_job(job_id, folder) for job_id in of_kind["json"]}
    jobs = {job.id: job for job in sorted(jobs.values(), key=lambda job: job.result.stat().st_mtime_ns)}
    batches = [read_batch(batch_id, folder, jobs) for batch_id in sorted(of_kind["batch"])]
    return list(jobs.values()), batches


def read_job(job_id: str, folder: Path) -> Job:
    """The job of a result."""
    path = folder / f"{job_id}.json"
    try:
        result = Result.from_row(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInputError(f"{path} is not a result of this server; remove it: {error!r}") from error
    return finished_job(job_id, result.filename, folder, outcome_of(result))


def read_batch(batch_id: str, folder: Path, jobs: dict[str, Job]) -> Batch:
    """A batch; its lost files are added to the jobs."""
    path = folder / f"{batch_id}.batch"
    try:
        files = [(str(job_id), str(name)) for job_id, name in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise BadInputError(f"{path} is not a batch of this server; remove it: {error!r}") from error
    for job_id, name in files:
        jobs.setdefault(job_id, finished_job(job_id, name, folder, LOST))
    return Batch(batch_id, [jobs[job_id] for job_id, _ in files])


def finished_job(job_id: str, name: str, folder: Path, outcome: Outcome) -> Job:
    """A job that ended in this way; its file is gone."""
    job = Job(job_id, name, folder / job_id, folder, state=outcome.state, outcome=outcome)
    job.finished.set()
    return job
