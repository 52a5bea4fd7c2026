"""Who may use a server: by the host that a request names, the page that it comes from, and the token.

A page of another site can send requests to this machine from the analyst's browser. But it cannot pretend that our host
is its origin, and after DNS rebinding its requests still name the other site's host.
"""

import hmac
import socket
from collections.abc import Collection
from contextlib import suppress
from ipaddress import ip_address

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::")
# The server's own pages load scripts, styles and frames from it and nothing from elsewhere.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A page of evidence holds its styles and pictures. It runs no script and has no origin.
EVIDENCE_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
EXPLAINED = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "10"}}  # headers that belong to a status
HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Address:
    """The hosts that a request may name: the one that the server is bound to, the names of this machine, and proxies'.

    A proxy is reached by https, under names that it passes on in the Host header.
    """

    def __init__(self, host: str, port: int, proxies: Collection[str] = ()) -> None:
        self.is_everywhere = host in EVERYWHERE
        self.suffix = "" if port == 80 else f":{port}"  # browsers leave out the default port of http
        self.url = f"http://{host_and_port(host, self.suffix)}/"
        names = {host, *LOOPBACK, *([socket.gethostname()] if self.is_everywhere else [])}
        self.proxies = {name.lower() for name in proxies}
        self.hosts = {host_and_port(name.lower(), self.suffix) for name in names} | self.proxies

    def is_ours(self, host: str) -> bool:
        """Whether a Host header names this server.

        DNS rebinding needs a name, so a server that is bound to all addresses accepts any numeric address.
        """
        if host.lower() in self.hosts:
            return True
        name = host.removesuffix(self.suffix)
        if self.is_everywhere and host.endswith(self.suffix):
            with suppress(ValueError):
                return bool(ip_address(name.removeprefix("[").removesuffix("]")))
        return False

    def origin(self, host: str) -> str:
        """The origin of this server's pages for requests with this Host header, which is ours."""
        return f"{'https' if host.lower() in self.proxies else 'http'}://{host.lower()}"


def host_and_port(host: str, suffix: str) -> str:
    """A host with its port, as in URLs and the Host header; `suffix` is the port with its colon, or empty."""
    return f"[{host}]{suffix}" if ":" in host else f"{host}{suffix}"


class Guard:
    """Refuses requests that come neither from the server's pages nor from a program; adds HEADERS to all answers.

    The paths in `is_open` need no token.
    """

    def __init__(self, app: ASGIApp, address: Address, token: str | None, is_open: Collection[str] = ()) -> None:
        self.app, self.address, self.token, self.is_open = app, address, token, is_open
        self.cookie = f"token{address.suffix.replace(':', '-')}"  # cookies do not tell ports apart

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refusal(Request(scope)) if scope["type"] == "http" else None
        await (answer or self.app)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        """What to answer instead of the application, or None."""
        if not self.address.is_ours(request.headers.get("host", "")):
            return refusal(421, "The header Host names another server.")
        if is_cross_site(request, self.address.origin(request.headers["host"])):
            return refusal(403, "Pages of other sites may not use this server.")
        return self._without_token(request) if self.token and request.scope["path"] not in self.is_open else None

    def _without_token(self, request: Request) -> Response | None:
        """What to answer a request that does not carry the token, or None; `/?token=TOKEN` sets the cookie."""
        if request.url.path == "/" and self._is_token(request.query_params.get("token")):
            answer = RedirectResponse("/", 303)
            is_secure = self.address.origin(request.headers["host"]).startswith("https:")
            answer.set_cookie(self.cookie, self.token or "", httponly=True, samesite="lax", secure=is_secure)
            return answer
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        bearer = given if scheme.lower() == "bearer" else None
        if self._is_token(bearer) or self._is_token(request.cookies.get(self.cookie)):
            return None
        return refusal(401, "Send `Authorization: Bearer TOKEN`, or open /?token=TOKEN in a browser.")

    def _is_token(self, given: str | None) -> bool:
        return given is not None and hmac.compare_digest(given.encode(), (self.token or "").encode())


def is_cross_site(request: Request, ours: str) -> bool:
    """Whether a page of an origin other than ours makes the request. Following a link to our page does not count."""
    headers = request.headers
    origin = headers.get("origin")
    if origin is not None and origin.lower() != ours:
        return True
    follows_link = request.method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    return headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not follows_link


def refusal(status: int, why: str) -> Response:
    """The answer that says in a sentence why a request is refused."""
    return JSONResponse({"error": why}, status, EXPLAINED.get(status))
