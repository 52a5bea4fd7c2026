"""The queue as a page: a file that sorts and can be printed, or served on this machine, where it keeps marks."""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from common.status import Status
from forensics.queue.marks import KINDS, Mark, Marks, said_of_marks
from forensics.queue.order import Queue
from forensics.serve.guard import EVIDENCE_POLICY, LOOPBACK, Address, Guard, host_and_port, refused
from forensics.serve.server import Server, bound
from inference.evidence.pages import pages_with
from inference.results import utf8_name

LONGEST_NOTE = 2000  # characters
LONGEST_BODY = 100_000  # bytes
TEMPLATES = pages_with(Path(__file__).parent / "templates")


def page(queue: Queue, marks: Marks, links: Mapping[str, Path], folder: Path | None) -> str:
    """The queue as HTML: a file in `folder`, or with None the served page."""
    rows = [
        {
            "place": place,
            "video": one,
            "name": utf8_name(one.filename),
            "mark": marks.of(one.filename),
            "link": link_of(place, links.get(one.filename), folder),
            "discovery": place <= queue.discoveries,
        }
        for place, one in enumerate(queue.videos[: queue.length], start=1)
    ]
    left = sum(one.status != Status.OK for one in queue.videos)
    return TEMPLATES.get_template("queue.html").render(
        queue=queue, rows=rows, kinds=KINDS, served=folder is None, said=said_of_marks(queue, marks), not_scored=left
    )


def link_of(place: int, path: Path | None, folder: Path | None) -> str | None:
    """Where a video's evidence is, as seen from the page."""
    if path is None:
        return None
    return f"evidence/{place}" if folder is None else quote(os.fsencode(os.path.relpath(path, folder)))


def make_app(queue: Queue, marks: Marks, links: Mapping[str, Path], address: Address) -> Starlette:
    """The application that shows the queue and keeps its marks."""
    shown = queue.videos[: queue.length]

    async def home(request: Request) -> Response:
        return HTMLResponse(page(queue, marks, links, None))

    async def style(request: Request) -> Response:
        return Response(TEMPLATES.get_template("queue.css").render(), media_type="text/css")

    async def script(request: Request) -> Response:
        return Response(TEMPLATES.get_template("queue.js").render(), media_type="text/javascript")

    async def evidence(request: Request) -> Response:
        place = request.path_params["place"]
        path = links.get(shown[place - 1].filename) if 0 < place <= len(shown) else None
        if path is None or not path.is_file():
            return refused(404, "There is no evidence of this video.")
        return HTMLResponse(path.read_bytes(), headers={"Content-Security-Policy": EVIDENCE_POLICY})

    async def mark(request: Request) -> Response:
        place = request.path_params["place"]
        if not 0 < place <= len(shown):
            return refused(404, "There is no such video in the queue.")
        if int(request.headers.get("content-length") or LONGEST_BODY + 1) > LONGEST_BODY:
            return refused(413, "A mark is smaller.")
        try:
            given = await request.json()
            one = Mark(str(given.get("mark", "")), str(given.get("note", ""))[:LONGEST_NOTE])
            marks.set(shown[place - 1].filename, one)
        except (ValueError, AttributeError, RecursionError) as error:
            return refused(400, f"That is no mark: {error}")
        return JSONResponse({"said": said_of_marks(queue, marks)})

    return Starlette(
        routes=[
            Route("/", home),
            Route("/queue.css", style),
            Route("/queue.js", script),
            Route("/evidence/{place:int}", evidence),
            Route("/marks/{place:int}", mark, methods=["PUT"]),
        ],
        middleware=[Middleware(Guard, address=address, token=None)],
    )


def serve_queue(queue: Queue, marks: Marks, links: Mapping[str, Path], port: int) -> None:
    """Show the queue on this machine until a signal ends it. Raises BadInputError if the port is taken."""
    with bound(LOOPBACK[0], port) as listening:
        number = listening.getsockname()[1]
        app = make_app(queue, marks, links, Address(LOOPBACK[0], number))
        where = f"http://{host_and_port(LOOPBACK[0], f':{number}')}/"
        Server(app, f"queue: open {where}, end with Ctrl-C").run([listening])
