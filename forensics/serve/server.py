"""What every local server needs: a port, a socket bound to it, and a line that says where the server answers."""

import argparse
import asyncio
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from common.errors import BadInputError

GRACE = 5  # seconds for answers that are under way when the server ends
HEAD_SECONDS = 20  # for a request to say what it wants
READ_SECONDS = 60  # for a client to take what it is sent
CONNECTIONS = 500  # at a time; a request on one more is answered 503. A process may often open 1,024 files


def port(text: str) -> int:
    """An argparse type: the number of a port; 0 stands for a free one."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 65535")
    return number


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address. Raises BadInputError if that is not possible."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise BadInputError(f"--host {host} --port {port}: {error}") from error
    return listening


class Connection(H11Protocol):
    """Ends if its client sends no whole head of a request, or reads nothing of its answer, for too long.

    Neither does a client any good, and each would hold a descriptor, and an answer in memory, as long as it likes.
    """

    timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The client has connected."""
        super().connection_made(transport)
        self._end_after(HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        """The client has sent something: part of a head, a head, part of a body."""
        super().data_received(data)
        if self.flow.write_paused:  # whatever it sends, it has to read
            return
        if self.cycle and not self.cycle.response_complete:
            self._stop_timer()
        elif self.timer is None:
            self._end_after(HEAD_SECONDS)

    def pause_writing(self) -> None:
        """The client does not read as fast as it is sent to."""
        super().pause_writing()
        self._end_after(READ_SECONDS)

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._stop_timer()
        super().connection_lost(exc)

    def _end_after(self, seconds: float) -> None:
        self._stop_timer()
        self.timer = self.loop.call_later(seconds, self.transport.abort)

    def _stop_timer(self) -> None:
        if self.timer:
            self.timer.cancel()
        self.timer = None


class Server(uvicorn.Server):
    """Prints a message as soon as it answers. When it is to end, it calls `on_end` before it waits for answers."""

    def __init__(self, app: ASGIApp, message: str, on_end: Callable[[], None] = lambda: None) -> None:
        config = uvicorn.Config(
            app,
            http=Connection,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=GRACE,
            log_level="error",
            access_log=False,
        )
        super().__init__(config)
        self.message, self.on_end = message, on_end

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal comes. Signals are caught before the event loop exists: one would break its making."""
        with self.capture_signals():
            super().run(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer, and print the message."""
        await super().startup(sockets)
        print(self.message, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self.on_end()
        await super().shutdown(sockets)
