"""What every command shares: exit status, signals, and a type of options. It imports nothing that takes time."""

import argparse
import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

from common.errors import BadInputError

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # what people and schedulers end a command with


def positive(text: str) -> int:
    """An argparse type: a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def run_script(main: Callable[[], int]) -> NoReturn:
    """Call a script's `main` and end with its status.

    SIGTERM (scancel, preemption, `kill`) ends it as Ctrl-C does, workers included, with status 143.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    end(status_of(main))


@contextmanager
def stopped_afterwards() -> Iterator[None]:
    """A signal that comes meanwhile acts at the end. It is for what breaks when an exception appears in it."""
    if threading.current_thread() is not threading.main_thread():  # signals act in the main thread only
        yield
        return
    came: list[int] = []
    before = {number: handler for number in STOPS if (handler := signal.getsignal(number)) is not None}
    for number in before:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for found in came:
            signal.raise_signal(found)


def status_of(main: Callable[[], int]) -> int:
    """What `main` returns, or the status of what it raises: 2 and a line on stderr for a missing or wrong input."""
    try:
        return main()
    except BrokenPipeError:  # whoever reads the output has left, as `head` does
        return 141
    except (BadInputError, OSError) as error:
        print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what is finished stays, and running it again goes on", file=sys.stderr)
        return 130
    except SystemExit as stop:  # from argparse or from SIGTERM
        if isinstance(stop.code, str):  # a message, as sys.exit takes it
            print(stop.code, file=sys.stderr)
            return 1
        return stop.code or 0


def end(status: int) -> NoReturn:
    """End the process as `sys.exit` does, but do not clean up its modules: with torch that takes a second."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError):  # its reader has left, as `head` does
            stream.flush()
    os._exit(status)
