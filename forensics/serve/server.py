"""What every local server needs: a port, a socket bound to it, and a line that says where the server answers."""

import argparse
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from common.errors import BadInputError

GRACE = 5  # seconds for answers that are under way when the server ends


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


class Server(uvicorn.Server):
    """Prints a message as soon as it answers. When it is to end, it calls `on_end` before it waits for answers."""

    def __init__(self, app: ASGIApp, message: str, on_end: Callable[[], None] = lambda: None) -> None:
        super().__init__(uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=GRACE))
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
