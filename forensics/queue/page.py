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

from common.errors import BadInputError
from common.status import Status
from forensics.queue.marks import KINDS, Mark, Marks, summarise
from forensics.queue.order import Queue
from forensics.serve.guard import EVIDENCE_POLICY, LOOPBACK, Address, Guard, refusal
from forensics.serve.server import Server, bound_socket
from inference.evidence.pages import pages_with
from inference.results import utf8_name

LONGEST_NOTE = 2000  # characters
LONGEST_BODY = 100_000  # bytes
TEMPLATES = pages_with(Path(__file__).parent / "templates")


def page(queue: Queue, marks: Marks, links: Mapping[str, Path], folder: Path | None) -> str:
    """The queue as HTML: for a file in `folder`, or for the server if that is None. `links` are pages of evidence."""
    rows = [
        {
            "place": place,
            "video": video,
            "name": utf8_name(video.filename),
            "mark": marks.get(video.filename, video.sha256),
            "link": link_to(links.get(video.filename), place, folder),
            "discovery": place <= queue.discoveries,
        }
        for place, video in enumerate(queue.videos[: queue.length], start=1)
    ]
    return TEMPLATES.get_template("queue.html").render(
        queue=queue,
        rows=rows,
        kinds=KINDS,
        served=folder is None,
        summary=summarise(queue, marks),
        not_scored=sum(video.status != Status.OK for video in queue.videos),
    )


def link_to(path: Path | None, place: int, folder: Path | None) -> str | None:
    """The address of a page of evidence, relative to the queue's page, as `page` does; None without evidence."""
    if path is None:
        return None
    return f"evidence/{place}" if folder is None else quote(os.fsencode(os.path.relpath(path, folder)))


def make_app(queue: Queue, marks: Marks, links: Mapping[str, Path], address: Address) -> Starlette:
    """The application that shows the queue and keeps its marks."""
    shown = queue.videos[: queue.length]

    async def home(request: Request) -> Response:
        try:
            marks.read()
        except BadInputError as error:
            return refusal(503, str(error))
        return HTMLResponse(page(queue, marks, links, None))

    async def style(request: Request) -> Response:
        return Response(TEMPLATES.get_template("queue.css").render(), media_type="text/css")

    async def script(request: Request) -> Response:
        return Response(TEMPLATES.get_template("queue.js").render(), media_type="text/javascript")

    async def evidence(request: Request) -> Response:
        place = request.path_params["place"]
        path = links.get(shown[place - 1].filename) if 0 < place <= len(shown) else None
        if path is None or not path.is_file():
            return refusal(404, "There is no evidence for this video.")
        return HTMLResponse(path.read_bytes(), headers={"Content-Security-Policy": EVIDENCE_POLICY})

    async def mark(request: Request) -> Response:
        place = request.path_params["place"]
        if not 0 < place <= len(shown):
            return refusal(404, "There is no such video in the queue.")
        if int(request.headers.get("content-length") or LONGEST_BODY + 1) > LONGEST_BODY:
            return refusal(413, "This is too long for a mark.")
        try:
            sent = await request.json()
            new_mark = Mark(str(sent.get("mark", "")), str(sent.get("note", ""))[:LONGEST_NOTE])
            marks.set(shown[place - 1].filename, new_mark, shown[place - 1].sha256)
        except (ValueError, AttributeError, RecursionError) as error:
            return refusal(400, f"This is not a mark: {error}")
        except BadInputError as error:
            return refusal(503, str(error))
        return JSONResponse({"said": summarise(queue, marks)})

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
    """Show the queue on this machine until a signal comes. Raises BadInputError if the port is taken."""
    with bound_socket(LOOPBACK[0], port) as listening:
        address = Address(LOOPBACK[0], listening.getsockname()[1])
        app = make_app(queue, marks, links, address)
        Server(app, f"queue: open {address.url}, end with Ctrl-C").run([listening])
