"""A local web page: drop videos or images on it to get their scores and the evidence for them.

Open the printed address in a browser. Programs can use the same server: its page `/docs` says how. The server listens
on this machine only; any other --host, and a proxy, needs a token. An uploaded file stays in a private temporary folder
until it is scored or cancelled. A result stays until it is deleted, 200 newer ones exist, or the server ends (Ctrl-C),
which leaves nothing behind; with --keep, the next server has it again.

    python -m forensics.serve
    python -m forensics.serve --port 8080 --members lite0
    openssl rand -hex 16 > token
    python -m forensics.serve --host 0.0.0.0 --token-file token --keep results/
    ROBUSTFORENSICS_TOKEN=... python -m forensics.serve --allow-host scores.example.org     # behind a proxy
    curl -T clip.mp4 'http://127.0.0.1:8000/score?name=clip.mp4'
"""

import argparse
import os
import re
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from common.command import STOPS, command_parser, delay_signals, positive, run_script
from common.errors import BadInputError
from common.lock import locked
from forensics.serve.app import make_app
from forensics.serve.guard import LOOPBACK, Address
from forensics.serve.jobs import Jobs
from forensics.serve.server import Server, bound_socket, port
from forensics.serve.uploads import Limits
from inference.scorer import Scorer
from inference.settings import Settings, add_options

TOKEN = "ROBUSTFORENSICS_TOKEN"  # the environment variable


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = command_parser(__doc__)
    parser.add_argument("--port", type=port, default=8000, metavar="N", help="default: 8000; 0 takes a free one")
    parser.add_argument("--host", default=LOOPBACK[0], metavar="ADDRESS", help=f"default: {LOOPBACK[0]}")
    text = "clients must send it; other users of this machine see it in the list of processes"
    parser.add_argument("--token", metavar="TOKEN", help=text)
    text = f"a file that holds the token; the environment variable {TOKEN} may hold it, too"
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=text)
    text = "a name under which an https proxy passes requests on, as the header Host has it; may be repeated"
    parser.add_argument("--allow-host", type=proxy, action="append", default=[], metavar="NAME", help=text)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep results here; the next server has them again")
    for name, default, what in (
        ("--max-bytes", Limits.bytes, "bytes per file"),
        ("--max-seconds", Limits.seconds, "seconds of work per file"),
        ("--max-queue", Limits.queue, "files that arrive, wait or are scored at a time"),
    ):
        text = f"{what} (default: {default:,})"
        parser.add_argument(name, type=positive, default=default, metavar="N", help=text)
    add_options(parser, ("models", "members", "network", "runtime"))
    return parser.parse_args()


def proxy(text: str) -> str:
    """An argparse type: the name of a host, with a port unless it is that of https."""
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a host's name such as scores.example.org")
    return text


def token_of(options: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token, from where it is; None if there is none.

    Raises BadInputError if it is in several places, or does not fit into a header, a cookie and an address.
    """
    given = {
        "--token": options.token,
        f"--token-file {options.token_file}": options.token_file,
        TOKEN: environment.get(TOKEN),
    }
    given = {source: value for source, value in given.items() if value is not None}
    if len(given) > 1:
        raise BadInputError(f"the token is given more than once: {', '.join(given)}")
    if not given:
        return None
    ((source, value),) = given.items()
    token: str = value.read_text(encoding="utf-8", errors="replace").strip() if isinstance(value, Path) else value
    if not re.fullmatch(r"[A-Za-z0-9._~-]+", token):
        raise BadInputError(f"{source}: a token needs at least one character, of letters, digits and ._~- only")
    return token


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


def keeping(folder: Path | None) -> AbstractContextManager[None]:
    """Hold the folder of --keep, which may not be another server's. Raises BadInputError if it is."""
    if folder is None:
        return nullcontext()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return locked(folder / "lock", f"--keep {folder} is used by another server already", remove=True)


def serve(options: argparse.Namespace, token: str | None) -> None:
    """Answer requests until a signal comes."""
    limits = Limits(options.max_bytes, options.max_seconds, options.max_queue)
    with (
        bound_socket(options.host, options.port) as listening,
        private_folder() as folder,
        keeping(options.keep),
    ):
        address = Address(options.host, listening.getsockname()[1], options.allow_host)
        with Scorer(Settings.of(options, evidence=True)) as scorer:
            jobs = Jobs(scorer, folder, limits, options.keep)
            url = f"{address.url}{'?token=TOKEN' if token else ''}"
            app = make_app(jobs, address, token)
            Server(app, f"serve: open {url}, end with Ctrl-C", on_end=jobs.stop).run([listening])


def main() -> int:
    """Serve until Ctrl-C."""
    options = parse_arguments()
    token = token_of(options)
    if not token and (options.host not in LOOPBACK or options.allow_host):
        option = f"--host {options.host}" if options.host not in LOOPBACK else f"--allow-host {options.allow_host[0]}"
        raise BadInputError(f"{option} lets other machines in: give a --token that they must know")
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # it comes when the terminal closes; nohup ignores it
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    with suppress(KeyboardInterrupt):
        serve(options, token)
    return 0


if __name__ == "__main__":
    run_script(main)
