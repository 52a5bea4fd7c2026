"""A local web page: drop videos or images on it to get their scores and the evidence for them.

Open the printed address in a browser. Programs can use the same server: its page `/docs` says how. The server listens
on this machine only; any other --host needs a --token. An uploaded file stays in a private temporary folder until it is
scored or cancelled. A result stays until it is deleted, 200 newer ones exist, or the server ends (Ctrl-C), which leaves
nothing behind.

    python -m forensics.serve
    python -m forensics.serve --port 8080 --members lite0
    python -m forensics.serve --host 0.0.0.0 --token "$(openssl rand -hex 16)"
    curl -T clip.mp4 'http://127.0.0.1:8000/score?name=clip.mp4'
"""

import argparse
import re
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common.command import STOPS, command_parser, delay_signals, positive, run_script
from common.errors import BadInputError
from forensics.serve.app import make_app
from forensics.serve.guard import LOOPBACK, Address
from forensics.serve.jobs import Jobs, Limits
from forensics.serve.server import Server, bound_socket, port
from inference.scorer import Scorer
from inference.settings import Settings, add_options


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = command_parser(__doc__)
    parser.add_argument("--port", type=port, default=8000, metavar="N", help="default: 8000; 0 takes a free one")
    parser.add_argument("--host", default=LOOPBACK[0], metavar="ADDRESS", help=f"default: {LOOPBACK[0]}")
    parser.add_argument("--token", type=token, metavar="TOKEN", help="clients must send it; others are refused")
    for name, default, what in (
        ("--max-bytes", Limits.bytes, "bytes per file"),
        ("--max-seconds", Limits.seconds, "seconds of work per file"),
        ("--max-queue", Limits.queue, "files that arrive, wait or are scored at a time"),
    ):
        text = f"{what} (default: {default:,})"
        parser.add_argument(name, type=positive, default=default, metavar="N", help=text)
    add_options(parser, ("models", "members", "network", "runtime"))
    return parser.parse_args()


def token(text: str) -> str:
    """An argparse type: a token that fits into a header, a cookie and an address."""
    if not re.fullmatch(r"[A-Za-z0-9._~-]+", text):
        raise argparse.ArgumentTypeError("a token needs at least one character, of letters, digits and ._~- only")
    return text


@contextmanager
def private_folder() -> Iterator[Path]:
    """A temporary folder for this process and its workers; no signal interrupts its removal."""
    with delay_signals():  # a signal in between would leave a folder that nothing removes
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
    """Answer requests until a signal comes."""
    limits = Limits(options.max_bytes, options.max_seconds, options.max_queue)
    with bound_socket(options.host, options.port) as listening, private_folder() as folder:
        address = Address(options.host, listening.getsockname()[1])
        with Scorer(Settings.of(options, evidence=True)) as scorer:
            jobs = Jobs(scorer, folder, limits)
            url = f"{address.url}{'?token=TOKEN' if options.token else ''}"
            app = make_app(jobs, address, options.token)
            Server(app, f"serve: open {url}, end with Ctrl-C", on_end=jobs.stop).run([listening])


def main() -> int:
    """Serve until Ctrl-C."""
    options = parse_arguments()
    if options.host not in LOOPBACK and not options.token:
        raise BadInputError(f"--host {options.host} lets other machines in: give a --token that they must know")
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # it comes when the terminal closes; nohup ignores it
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    with suppress(KeyboardInterrupt):
        serve(options)
    return 0


if __name__ == "__main__":
    run_script(main)
