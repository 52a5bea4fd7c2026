"""What ends a training from outside: a signal that asks it to stop, or a watchdog if nothing gets done."""

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator

GRACE = 5.0  # seconds for the other processes to report too: the end of the first one ends them all
STALLED = 124  # exit status of a training that stalled, as timeout(1) returns it
STOPPED = 75  # exit status of one that was told to stop and saved: EX_TEMPFAIL of sysexits.h, start it again
TO_STOP = (signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """Knows whether SIGTERM or SIGUSR1 told this process to stop. Without `listen` these signals end the process."""

    def __init__(self, listen: bool) -> None:
        self.asked = False
        for number in TO_STOP if listen else ():
            signal.signal(number, self.ask)

    def ask(self, *_: object) -> None:
        """Handle the signals."""
        self.asked = True


@contextlib.contextmanager
def ignoring_requests_to_stop() -> Iterator[None]:
    """Ignore requests to stop in the block. A process that is started in the block ignores them forever."""
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in TO_STOP]
    yield
    for number, handler in before:
        signal.signal(number, handler)


class Watchdog:
    """Ends the process if `beat` is not called for `seconds`, after writing the stacks of all threads to stderr.

    Time for which the whole process is suspended does not count.
    """

    def __init__(self, rank: int, seconds: float) -> None:
        self.rank, self.seconds = rank, seconds
        self.pause = min(1.0, seconds / 20)  # seconds between looks
        self.idle = 0  # looks since the last beat
        self.off = threading.Event()
        self.thread = threading.Thread(target=self.watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:  # after an error it goes on watching, because the exit may hang too
            self.off.set()
            self.thread.join()

    def beat(self) -> None:
        """Tell the watchdog that something was done, such as a step or a sample of validation."""
        self.idle = 0

    def watch(self) -> None:
        """Check again and again until the context ends."""
        while not self.off.wait(self.pause):
            self.idle += 1
            if self.idle * self.pause > self.seconds:
                threading.Thread(target=self.report, daemon=True).start()  # in a thread, because writing may hang too
                self.off.wait(GRACE)
                if self.idle:  # 0 if the training went on after all
                    os._exit(STALLED)

    def report(self) -> None:
        """Write all threads' stacks at once, with the rank on each line: other ranks write to the same log."""
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        lines = [f"stalled: nothing was done for {self.seconds:g} s; the threads stand at"]
        for number, frame in sys._current_frames().items():
            if number not in (self.thread.ident, threading.get_ident()):
                stack = "".join(traceback.format_stack(frame)).rstrip().split("\n")
                lines += [f"thread {names.get(number, number)}", *stack]
        with contextlib.suppress(OSError):  # a log that is gone must not keep the process alive
            os.write(2, "".join(f"rank {self.rank}: {line}\n" for line in lines).encode())
