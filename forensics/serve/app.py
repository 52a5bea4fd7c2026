"""What the server answers: the page, its documentation, and the API that both use."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from forensics.serve.guard import EVIDENCE_POLICY, Address, Guard, refusal
from forensics.serve.job import Job, State
from forensics.serve.jobs import Jobs, Refused
from inference.evidence.pages import pages_with

PAGES = pages_with(Path(__file__).parent / "templates")
STATUS_OF = {State.CANCELLED: 409, State.TOO_LONG: 504, State.FAILED: 500}  # HTTP status for a job without a result


def make_app(jobs: Jobs, address: Address, token: str | None = None) -> Starlette:
    """The application of a server. It works on the jobs while it runs."""

    @asynccontextmanager
    async def at_work(app: Starlette) -> AsyncIterator[None]:
        worker = asyncio.create_task(jobs.work())
        yield
        await jobs.end(worker)

    routes = Routes(jobs)
    return Starlette(
        routes=[
            Route("/", routes.home),
            Route("/docs", routes.docs),
            Route("/serve.css", routes.style),
            Route("/serve.js", routes.script),
            Route("/score", routes.score, methods=["POST", "PUT"]),
            Route("/events", routes.events),
            Route("/jobs", routes.list_jobs, methods=["GET"]),
            Route("/jobs", routes.add_job, methods=["POST", "PUT"]),
            Route("/jobs/{id}", routes.show_job, methods=["GET"]),
            Route("/jobs/{id}", routes.delete_job, methods=["DELETE"]),
            Route("/jobs/{id}/cancel", routes.cancel_job, methods=["POST"]),
            Route("/jobs/{id}/page", routes.page),
            Route("/jobs/{id}/result.json", routes.result),
        ],
        middleware=[Middleware(Guard, address=address, token=token)],
        exception_handlers={Refused: on_refused, HTTPException: on_http_error, ClientDisconnect: on_disconnect},
        lifespan=at_work,
    )


class Routes:
    """The answers, a method each."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs

    async def home(self, request: Request) -> Response:
        """The page to drop files on."""
        return self._rendered("serve.html", request)

    async def docs(self, request: Request) -> Response:
        """The documentation of the API, with examples."""
        return self._rendered("serve_docs.html", request)

    async def style(self, request: Request) -> Response:
        """The style of both pages."""
        return Response(PAGES.get_template("serve.css").render(), media_type="text/css")

    async def script(self, request: Request) -> Response:
        """The script of the home page."""
        return Response(PAGES.get_template("serve.js").render(), media_type="text/javascript")

    async def score(self, request: Request) -> Response:
        """Score the file in the body, and answer with its result."""
        job = await self._receive(request)
        if not await finishes(job, request):
            self.jobs.delete(job)
        return self._result_of(job)

    async def add_job(self, request: Request) -> Response:
        """Put the file in the body into the queue."""
        job = await self._receive(request)
        return JSONResponse(job.to_json(), 202, {"Location": f"/jobs/{job.id}"})

    async def list_jobs(self, request: Request) -> Response:
        """All jobs, the oldest first."""
        return JSONResponse(self.jobs.to_json())

    async def show_job(self, request: Request) -> Response:
        """A job."""
        return JSONResponse(self._job(request).to_json())

    async def cancel_job(self, request: Request) -> Response:
        """End a job early."""
        job = self._job(request)
        self.jobs.cancel(job)
        return JSONResponse(job.to_json())

    async def delete_job(self, request: Request) -> Response:
        """Delete a job with its file, its page and its result."""
        self.jobs.delete(self._job(request))
        return Response(status_code=204)

    async def events(self, request: Request) -> Response:
        """The jobs and their changes, as server-sent events."""
        return StreamingResponse(self._events(), media_type="text/event-stream")

    async def page(self, request: Request) -> Response:
        """The page of a job's evidence, as HTML."""
        job = self._job(request)
        check_done(job)
        return HTMLResponse(content_of(job.page), headers={"Content-Security-Policy": EVIDENCE_POLICY})

    async def result(self, request: Request) -> Response:
        """The result of a job, as JSON."""
        return self._result_of(self._job(request))

    def _rendered(self, template: str, request: Request) -> Response:
        text = PAGES.get_template(template).render(limits=self.jobs.limits, origin=f"http://{request.headers['host']}")
        return HTMLResponse(text)

    async def _receive(self, request: Request) -> Job:
        """Put the file in the body into the queue. If its declared length is too large, the body is not read."""
        check_body(request)
        length = request.headers.get("content-length")
        self.jobs.check_size(int(length) if length else 0)
        return await self.jobs.receive(request.query_params.get("name", ""), request.stream())

    def _job(self, request: Request) -> Job:
        return self.jobs.find(request.path_params["id"])

    def _result_of(self, job: Job) -> Response:
        self.jobs.find(job.id)
        check_done(job)
        return Response(content_of(job.result), media_type="application/json")

    async def _events(self) -> AsyncIterator[str]:
        async for change in self.jobs.changes():
            yield f"data: {json.dumps(change._asdict())}\n\n"


def check_done(job: Job) -> None:
    """Raise Refused, saying why, if a job has no result."""
    if job.outcome is None:
        raise Refused(409, f"{job.name} is not scored yet: {job.state}.")
    if job.state != State.DONE:
        raise Refused(STATUS_OF[job.state], f"{job.name} has no score: {job.outcome.reason}.")


def check_body(request: Request) -> None:
    """Raise Refused, with a line that works, if the body is not the file itself: a form, JSON, or compressed."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    coding = request.headers.get("content-encoding", "identity").lower()
    if kind.startswith("multipart/") or kind.endswith("json") or coding != "identity":
        what = f"compressed ({coding})" if coding != "identity" else kind
        line = f"curl -T FILE 'http://{request.headers['host']}{request.url.path}?name=FILE'"
        raise Refused(415, f"The body is {what}, but it must be the file itself, as in: {line}")


def content_of(path: Path) -> bytes:
    """The content of a job's file. Raises Refused if something else has removed it."""
    try:
        return path.read_bytes()
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


async def on_refused(request: Request, error: Exception) -> Response:
    """The answer to a request that was refused, which says why."""
    assert isinstance(error, Refused)
    return refusal(error.status, str(error))


async def on_http_error(request: Request, error: Exception) -> Response:
    """The answer to a request for an unknown path or method."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": f"{error.detail}."}, error.status_code, error.headers)


async def on_disconnect(request: Request, error: Exception) -> Response:
    """The answer to a client that has disconnected, so nobody reads it."""
    return Response(status_code=400)
