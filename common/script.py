"""What every command shares: the exit status, and a type of options. It imports nothing that takes time."""

import argparse
import atexit
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from common.errors import BadInputError


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
