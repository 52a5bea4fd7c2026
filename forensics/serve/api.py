"""The API of the server: a table of its endpoints, and their answers, which the page uses as well.

The docstrings of the answers are the documentation of the API.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

from common.errors import BadInputError
from common.status import Status
from forensics.serve import openapi
from forensics.serve.batch import BATCH_TYPES, Batch
from forensics.serve.guard import EVIDENCE_POLICY, EXPLAINED, Address
from forensics.serve.job import JOB_TYPES, MEANINGS, Job, State
from forensics.serve.jobs import Health, Jobs
from forensics.serve.multipart import FORM, Form
from forensics.serve.openapi import Content, Endpoint, object_schema, reference
from forensics.serve.uploads import Refused
from inference.evidence.case import FIELDS, Case, case_of
from inference.verdicts import VerdictName

STATUS_OF = {
    State.CANCELLED: 410,
    State.LOST: 410,
    State.TOO_LONG: 504,
    State.FAILED: 500,
}  # HTTP status for a job without a result
BYTES = {"type": "string", "format": "binary"}
FILE = Content("application/octet-stream", BYTES)
FILES = {"type": "object", "properties": {"file": {"type": "array", "items": BYTES}}, "required": ["file"]}
BUNDLE = Content("application/zip", BYTES)
FORM_OF_FILES = Content(FORM, FILES)
JOB, BATCH, ROW, HEALTH = (Content("application/json", reference(name)) for name in ("Job", "Batch", "Row", "Health"))
JOBS, BATCHES = (Content("application/json", {"type": "array", "items": reference(name)}) for name in ("Job", "Batch"))
DOCUMENT = Content("application/json", {"type": "object"})
EVIDENCE, EVENTS = (Content(kind, {"type": "string"}) for kind in ("text/html", "text/event-stream"))
SEND = ("POST", "PUT")
OF_CASE = {name: f"{name} of the case, for the evidence" for name in FIELDS}
NAMED = {"name": "the file's name, for display"} | OF_CASE
UPLOAD = (400, 408, 413, 415, 503, 507)  # why a file may be refused
NO_RESULT = (404, 409, 410, 500, 504)


class Api:
    """The endpoints, and the answers of each, a method each."""

    def __init__(self, jobs: Jobs, address: Address, has_token: bool) -> None:
        self.jobs, self.address, self.has_token = jobs, address, has_token
        post, delete = ("POST",), ("DELETE",)
        self.endpoints = [
            Endpoint("/score", self.score, ROW, (*UPLOAD, *NO_RESULT), SEND, takes=FILE, queries=NAMED),
            Endpoint("/jobs", self.add_job, JOB, UPLOAD, SEND, status=202, takes=FILE, queries=NAMED),
            Endpoint("/jobs", self.list_jobs, JOBS),
            Endpoint("/jobs/{id}", self.show_job, JOB, (404,)),
            Endpoint("/jobs/{id}/result.json", self.result, ROW, NO_RESULT),
            Endpoint("/jobs/{id}/page", self.page, EVIDENCE, NO_RESULT),
            Endpoint("/jobs/{id}/evidence.zip", self.bundle, BUNDLE, NO_RESULT),
            Endpoint("/jobs/{id}/cancel", self.cancel_job, JOB, (404,), post),
            Endpoint("/jobs/{id}", self.delete_job, None, (404,), delete, status=204),
            Endpoint("/batches", self.add_batch, BATCH, UPLOAD, post, 202, FORM_OF_FILES, OF_CASE),
            Endpoint("/batches", self.list_batches, BATCHES),
            Endpoint("/batches/{id}", self.show_batch, BATCH, (404,)),
            Endpoint("/batches/{id}/cancel", self.cancel_batch, BATCH, (404,), post),
            Endpoint("/batches/{id}", self.delete_batch, None, (404,), delete, status=204),
            Endpoint("/events", self.events, EVENTS),
            Endpoint("/healthz", self.health, HEALTH, is_open=True, failing=503),
            Endpoint("/openapi.json", self.openapi, DOCUMENT),
        ]

    async def score(self, request: Request) -> Response:
        """Score the file in the body, and answer when it is scored.

        The answer is the object that `submission.jsonl` holds for a video. If the client disconnects, the file and its
        job are deleted.
        """
        job = await self._receive(request)
        if not await finishes(job, request):
            self.jobs.delete(job)
        return self._result_of(job)

    async def add_job(self, request: Request) -> Response:
        """Put the file in the body into the queue, and answer with its job."""
        job = await self._receive(request)
        return JSONResponse(job.to_json(), 202, {"Location": f"/jobs/{job.id}"})

    async def list_jobs(self, request: Request) -> Response:
        """All jobs, in the order in which they came; those of an earlier server first, as they ended."""
        return JSONResponse(self.jobs.to_json())

    async def show_job(self, request: Request) -> Response:
        """A job.

        Its `stage` (faces, networks, evidence) has `done` of `of` steps; `of` is null if that is not known. When its
        state is `done`, it also has `status`, `reason`, `label`, `verdict`, `false_positive_rate`, `meaning` (the rate
        in words) and the number of `faces`.
        """
        return JSONResponse(self._job(request).to_json())

    async def cancel_job(self, request: Request) -> Response:
        """End a job early: within about a second."""
        job = self._job(request)
        self.jobs.cancel(job)
        return JSONResponse(job.to_json())

    async def delete_job(self, request: Request) -> Response:
        """Delete a job with its file, its page and its result."""
        self.jobs.delete(self._job(request))
        return Response(status_code=204)

    async def result(self, request: Request) -> Response:
        """The result of a job, as `/score` answers it."""
        return self._result_of(self._job(request))

    async def page(self, request: Request) -> Response:
        """The page of a job's evidence."""
        job = self._job(request)
        check_done(job)
        with still_there():
            return HTMLResponse(job.page, headers={"Content-Security-Policy": EVIDENCE_POLICY})

    async def bundle(self, request: Request) -> Response:
        """The evidence of a job as one file: page, JSON and digests, for `inference.verify`."""
        job = self._job(request)
        check_done(job)
        name = f"attachment; filename*=UTF-8''{quote(f'{job.name}.zip')}"
        with still_there():
            return Response(job.bundle.read_bytes(), 200, {"Content-Disposition": name}, "application/zip")

    async def add_batch(self, request: Request) -> Response:
        """Put all files of a form into the queue, or none, and answer with one job for them: a batch.

        Each part of the form is a file with a name; what its field is called does not matter.
        """
        line = f"curl -F file=@a.mp4 -F file=@b.mp4 {self.origin(request)}/batches"
        check_body(request, True, f"a form of files, as in: {line}")
        form = Form(request.headers.get("content-type", ""), self.jobs.uploads.punctual(request.stream()))
        batch = await self.jobs.receive_batch(form.files(), case_from(request))
        return JSONResponse(batch.to_json(), 202, {"Location": f"/batches/{batch.id}"})

    async def list_batches(self, request: Request) -> Response:
        """All batches."""
        return JSONResponse([batch.to_json() for batch in self.jobs.batches.values()])

    async def show_batch(self, request: Request) -> Response:
        """A batch: how many of its files are finished, and the job of each.

        When all are finished, it is done if any of them is, else its state says how they ended: look at the state of
        each. A deleted job leaves its batch, and `of` falls.
        """
        return JSONResponse(self._batch(request).to_json())

    async def cancel_batch(self, request: Request) -> Response:
        """End all jobs of a batch early."""
        batch = self._batch(request)
        for job in batch.jobs:
            self.jobs.cancel(job)
        return JSONResponse(batch.to_json())

    async def delete_batch(self, request: Request) -> Response:
        """Delete a batch with all of its jobs."""
        for job in list(self._batch(request).jobs):
            self.jobs.delete(job)
        return Response(status_code=204)

    async def events(self, request: Request) -> Response:
        """The jobs and their changes, as server-sent events.

        Each is an object. The first, `{"jobs": [...], "gone": [], "is_all": true}`, holds all jobs, the others those
        that changed, and the ids of those that are `gone`. After 15 s without a change, an empty one comes.
        """
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def health(self, request: Request) -> Response:
        """The server's version, whether it is alive, and how many files wait.

        It needs no token. If the server cannot score, because its networks did not load, a file is stuck in them, or
        it is ending, `alive` is false and the status is 503.
        """
        health = self.jobs.health()
        status = 200 if health.alive else 503
        return JSONResponse(health._asdict(), status, EXPLAINED.get(status))

    async def openapi(self, request: Request) -> Response:
        """This API, as an OpenAPI document."""
        return JSONResponse(self.document())

    def document(self) -> dict[str, Any]:
        """The OpenAPI document."""
        schemas = {
            **{kind.__name__: openapi.enum_schema(kind) for kind in (Status, VerdictName)},
            "State": openapi.enum_schema(State) | {"description": openapi.listed(MEANINGS)},
            "Job": object_schema(JOB_TYPES),
            "Batch": object_schema(BATCH_TYPES),
            "Health": openapi.tuple_schema(Health),
            "Error": object_schema({"error": str}),
            **openapi.row_schemas(),
        }
        return openapi.document(self.endpoints, schemas, self.has_token)

    async def _receive(self, request: Request) -> Job:
        """Put the file in the body into the queue. If its declared length is too large, the body is not read."""
        line = f"curl -T FILE '{self.origin(request)}{request.url.path}?name=FILE'"
        check_body(request, False, f"the file itself, as in: {line}")
        length = request.headers.get("content-length")
        uploads = self.jobs.uploads
        uploads.check_size(int(length) if length else 0)
        name = request.query_params.get("name", "")
        return await self.jobs.receive(name, uploads.punctual(request.stream()), case_from(request))

    def origin(self, request: Request) -> str:
        """The origin of the server's pages, as the client of this request sees it."""
        return self.address.origin(request.headers["host"])

    def _job(self, request: Request) -> Job:
        return self.jobs.find(request.path_params["id"])

    def _batch(self, request: Request) -> Batch:
        return self.jobs.find_batch(request.path_params["id"])

    def _result_of(self, job: Job) -> Response:
        self.jobs.find(job.id)
        check_done(job)
        with still_there():
            return Response(job.result.read_bytes(), media_type="application/json")

    async def _events(self) -> AsyncIterator[str]:
        async for change in self.jobs.changes():
            yield f"data: {json.dumps(change._asdict())}\n\n"


def check_done(job: Job) -> None:
    """Raise Refused, saying why, if a job has no result."""
    if job.outcome is None:
        raise Refused(409, f"{job.name} is not scored yet: {job.state}.")
    if job.state != State.DONE:
        raise Refused(STATUS_OF[job.state], f"{job.name} has no score: {job.outcome.reason}.")


def check_body(request: Request, is_form: bool, wanted: str) -> None:
    """Raise Refused, saying what is wanted, if the body is compressed, JSON, or a form where a file is due."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    coding = request.headers.get("content-encoding", "identity").lower()
    is_right = kind == FORM if is_form else not kind.startswith("multipart/") and not kind.endswith("json")
    if not is_right or coding != "identity":
        what = f"compressed ({coding})" if coding != "identity" else kind or "of no kind"
        raise Refused(415, f"The body is {what}, but it must be {wanted}")


def case_from(request: Request) -> Case | None:
    """The case that a request names; None if it names none. Raises Refused if a field is too long."""
    fields = {name: request.query_params[name] for name in FIELDS if name in request.query_params}
    try:
        return case_of(fields) if any(fields.values()) else None
    except BadInputError as error:
        raise Refused(400, f"The case cannot be used: {error}.") from error


@contextmanager
def still_there() -> Iterator[None]:
    """Read a job's files. Raises Refused if something else has removed them."""
    try:
        yield
    except FileNotFoundError as error:
        raise Refused(410, "This result is gone: something has removed the server's files.") from error


async def finishes(job: Job, request: Request) -> bool:
    """Wait until a job is finished. Returns False if the client disconnects first."""
    leaving, ending = asyncio.create_task(disconnected(request)), asyncio.create_task(job.finished.wait())
    await asyncio.wait({leaving, ending}, return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    ending.cancel()
    return job.finished.is_set()


async def disconnected(request: Request) -> None:
    """Wait until the client disconnects."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
