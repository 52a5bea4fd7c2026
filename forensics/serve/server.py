"""What every local server needs: a port, a socket bound to an address, and a line that says where it answers."""

import argparse
import socket

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


def bound(host: str, port: int) -> socket.socket:
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
    """Says where it is as soon as it answers."""

    def __init__(self, app: ASGIApp, said: str) -> None:
        super().__init__(uvicorn.Config(app, log_level="error", access_log=False, timeout_graceful_shutdown=GRACE))
        self.said = said

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve. Signals are taken before the loop is made too: one then would leave a coroutine never awaited."""
        with self.capture_signals():
            super().run(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin."""
        await super().startup(sockets)
        print(self.said, flush=True)
