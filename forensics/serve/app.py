"""The server's application: its pages, the API that they use, and what guards both."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from markupsafe import Markup, escape
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from forensics.serve.api import Api
from forensics.serve.guard import Address, Guard, refusal
from forensics.serve.job import MEANINGS
from forensics.serve.jobs import Jobs
from forensics.serve.openapi import REFUSALS, routes
from forensics.serve.uploads import Refused
from inference.evidence.pages import pages_with

PAGES = pages_with(Path(__file__).parent / "templates")
PAGES.filters["code"] = lambda words: Markup(re.sub("`(.+?)`", r"<code>\1</code>", str(escape(words))))


def make_app(jobs: Jobs, address: Address, token: str | None = None) -> Starlette:
    """The application of a server. It works on the jobs while it runs."""

    @asynccontextmanager
    async def at_work(app: Starlette) -> AsyncIterator[None]:
        jobs.start()
        yield
        await jobs.end()

    api = Api(jobs, address, has_token=token is not None)
    pages = Pages(api)
    is_open = frozenset(endpoint.path for endpoint in api.endpoints if endpoint.is_open)
    app = Starlette(
        routes=[
            Route("/", pages.home),
            Route("/docs", pages.docs),
            Route("/serve.css", pages.style),
            Route("/serve.js", pages.script),
            *routes(api.endpoints),
        ],
        middleware=[Middleware(Guard, address=address, token=token, is_open=is_open)],
        exception_handlers={Refused: on_refused, HTTPException: on_http_error, ClientDisconnect: on_disconnect},
        lifespan=at_work,
    )
    app.router.redirect_slashes = False  # behind a proxy, the redirection would leave https
    return app


class Pages:
    """The pages for people, and what they load."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def home(self, request: Request) -> Response:
        """The page to drop files on."""
        return HTMLResponse(PAGES.get_template("serve.html").render(jobs=self.api.jobs))

    async def docs(self, request: Request) -> Response:
        """The documentation of the API, with examples."""
        about = {"endpoints": self.api.endpoints, "refusals": REFUSALS, "states": MEANINGS}
        origin = self.api.origin(request)
        return HTMLResponse(PAGES.get_template("serve_docs.html").render(jobs=self.api.jobs, origin=origin, **about))

    async def style(self, request: Request) -> Response:
        """The style of both pages."""
        return Response(PAGES.get_template("serve.css").render(), media_type="text/css")

    async def script(self, request: Request) -> Response:
        """The script of the home page."""
        return Response(PAGES.get_template("serve.js").render(), media_type="text/javascript")


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
