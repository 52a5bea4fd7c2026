"""A local web page on which one drops a video and gets its score and the evidence for it.

Open the printed address in a browser. Programs use the same server: `/docs` on it says how. It listens on this machine
only; another --host needs a --token. Uploads lie in a private temporary folder, each until it is scored or cancelled.
Results stay until they are deleted, 200 newer ones are there, or the server ends (Ctrl-C), and then nothing is left.

    python -m forensics.serve
    python -m forensics.serve --port 8080 --members lite0
    python -m forensics.serve --host 0.0.0.0 --token "$(openssl rand -hex 16)"
    curl -T clip.mp4 'http://127.0.0.1:8000/score?name=clip.mp4'
"""

import argparse
import re
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common.command import STOPS, delay_signals, positive, run_script
from common.errors import BadInputError
from forensics.serve.app import make_app
from forensics.serve.guard import LOOPBACK, Address, host_and_port
from forensics.serve.jobs import Jobs, Limits
from forensics.serve.server import Server, bound, port
from inference.scorer import Scorer
from inference.settings import Settings, add_options


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=port, default=8000, metavar="N", help="default: 8000; 0 takes a free one")
    parser.add_argument("--host", default=LOOPBACK[0], metavar="ADDRESS", help=f"default: {LOOPBACK[0]}")
    parser.add_argument("--token", type=token, metavar="TOKEN", help="what clients must know; others are refused")
    parser.add_argument("--max-bytes", type=positive, default=Limits.bytes, metavar="N", help="a file; default: 2 GB")
    parser.add_argument(
        "--max-seconds",
        type=positive,
        default=Limits.seconds,
        metavar="N",
        help=f"of work a file; default: {Limits.seconds}",
    )
    parser.add_argument(
        "--max-queue",
        type=positive,
        default=Limits.queue,
        metavar="N",
        help=f"files that arrive, wait or are scored; default: {Limits.queue}",
    )
    add_options(parser, ("models", "members", "runtime"))
    return parser.parse_args()


def token(text: str) -> str:
    """An argparse type: a token that fits into a header, a cookie and an address."""
    if not re.fullmatch(r"[A-Za-z0-9._~-]+", text):
        raise argparse.ArgumentTypeError("letters, digits and ._~- only, at least one")
    return text


class JobServer(Server):
    """A server that, when it is asked to end, ends streams, uploads and jobs first."""

    def __init__(self, jobs: Jobs, address: Address, token: str | None, said: str) -> None:
        super().__init__(make_app(jobs, address, token), said)
        self.jobs = jobs

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self.jobs.stop()
        await super().shutdown(sockets)


@contextmanager
def private_folder() -> Iterator[Path]:
    """A temporary folder for this process and its workers; no signal interrupts its removal."""
    with delay_signals():  # before it is whole, nothing would remove it
        folder = tempfile.TemporaryDirectory(prefix="serve-", ignore_cleanup_errors=True)
    before = tempfile.tempdir
    tempfile.tempdir = folder.name
    try:
        yield Path(folder.name)
    finally:
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN)
        tempfile.tempdir = before
        folder.cleanup()


def serve(options: argparse.Namespace) -> None:
    """Answer requests until a signal ends it."""
    with bound(options.host, options.port) as listening, private_folder() as folder:
        number = listening.getsockname()[1]
        with Scorer(Settings.of(options, evidence=True)) as scorer:
            jobs = Jobs(scorer, folder, Limits(options.max_bytes, options.max_seconds, options.max_queue))
            where = f"http://{host_and_port(options.host, f':{number}')}/{'?token=TOKEN' if options.token else ''}"
            server = JobServer(
                jobs, Address(options.host, number), options.token, f"serve: open {where}, end with Ctrl-C"
            )
            server.run([listening])


def main() -> int:
    """Serve until Ctrl-C."""
    options = parse_arguments()
    if options.host not in LOOPBACK and not options.token:
        raise BadInputError(f"--host {options.host} lets other machines in: give a --token that they must know")
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # the terminal is closed; nohup ignores that
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    with suppress(KeyboardInterrupt):
        serve(options)
    return 0


if __name__ == "__main__":
    run_script(main)
