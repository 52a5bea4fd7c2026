"""Results that outlive the server, in the folder of --keep: what an earlier server left there.

A result is two files, its evidence `<id>.zip` and its row `<id>.json`, which is written last. Until then, `<id>.job`
says how the job will have ended without a result: lost with the server, unless it was cancelled or failed before.
`<id>.batch` names the files of a batch. Other files in the folder are left alone.
"""

import json
import re
from pathlib import Path

from common.errors import BadInputError
from forensics.serve.batch import Batch
from forensics.serve.job import KINDS, Job, Outcome, State, outcome_of
from inference.results import Result

OURS = re.compile(
    r"(?P<id>[0-9a-f]{32})\.(?P<kind>json|zip|job|batch)|(?P<partial>\.[0-9a-f]{32}\..+\.tmp\.(json|zip|job|batch))"
)


def read_results(folder: Path) -> tuple[list[Job], list[Batch]]:
    """The jobs in a folder, the oldest first, and the batches; what a killed server left half done is removed.

    Raises BadInputError for a file that cannot be read.
    """
    names = [name for path in folder.iterdir() if (name := OURS.fullmatch(path.name))]
    of_kind = {kind: {name["id"] for name in names if name["kind"] == kind} for kind in (*KINDS, "batch")}
    for name in names:
        is_superseded = name["kind"] == "job" and name["id"] in of_kind["json"]
        if name["partial"] or is_superseded or (name["kind"] == "zip" and name["id"] not in of_kind["json"]):
            (folder / name[0]).unlink()
    scored = {read_job(job_id, folder): "json" for job_id in of_kind["json"]}
    without = {read_note(job_id, folder): "job" for job_id in of_kind["job"] - of_kind["json"]}
    ended = sorted((scored | without).items(), key=lambda item: item[0].file(item[1]).stat().st_mtime_ns)
    jobs = {job.id: job for job, _ in ended}
    batches = [read_batch(batch_id, folder, jobs) for batch_id in sorted(of_kind["batch"])]
    return list(jobs.values()), [batch for batch in batches if batch.jobs]


def read_note(job_id: str, folder: Path) -> Job:
    """The job of a file without a result."""
    path = folder / f"{job_id}.job"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        outcome = Outcome(State(content["state"]), str(content["reason"]))
        return finished_job(job_id, str(content["name"]), folder, outcome)
    except (ValueError, TypeError, KeyError) as error:
        raise BadInputError(f"{path} is not a job of this server; remove it: {error!r}") from error


def read_job(job_id: str, folder: Path) -> Job:
    """The job of a result."""
    path = folder / f"{job_id}.json"
    try:
        result = Result.from_row(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInputError(f"{path} is not a result of this server; remove it: {error!r}") from error
    return finished_job(job_id, result.filename, folder, outcome_of(result))


def read_batch(batch_id: str, folder: Path, jobs: dict[str, Job]) -> Batch:
    """A batch, with those of its jobs that are still there."""
    path = folder / f"{batch_id}.batch"
    try:
        ids = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(ids, list) or not all(isinstance(job_id, str) for job_id in ids):
            raise TypeError("not a list of ids")
    except (ValueError, TypeError) as error:
        raise BadInputError(f"{path} is not a batch of this server; remove it: {error!r}") from error
    return Batch(batch_id, [jobs[job_id] for job_id in ids if job_id in jobs])


def finished_job(job_id: str, name: str, folder: Path, outcome: Outcome) -> Job:
    """A job that ended in this way; its file is gone."""
    job = Job(job_id, name, folder / job_id, folder, state=outcome.state, outcome=outcome)
    job.finished.set()
    return job
