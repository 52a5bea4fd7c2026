"""One process at a time: a training in a run's folder, a run of one submission, a writer of a file.

A process holds a lock on a file until its end, however it ends. On a file system without locks it creates another file
instead, called `holder` where the first is called `lock`, and removes it at the end. Both name the host, the process
and the job.
"""

import errno
import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from common.errors import BadInputError

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def this_process() -> str:
    """This process, in words: host, number, Slurm job, time."""
    began = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    return f"host {socket.gethostname()}, process {os.getpid()}, {this_job()}since {began}"


def this_job() -> str:
    """This process's Slurm job in words, and how often it was queued again; empty without a job."""
    number, restarts = (os.environ.get(f"SLURM_{name}") for name in ("JOB_ID", "RESTART_COUNT"))
    return f"job {number} queued again {restarts or 0} times, " if number else ""


@contextmanager
def locked(path: Path, taken: str, wait: float = 0.0, remove: bool = False) -> Iterator[None]:
    """Hold a lock file, after waiting up to `wait` seconds for it; with `remove` it is gone afterwards.

    Its folder is created if it is missing.

    Raises BadInputError if another process holds it: `taken`, such as "runs/b0 is being trained already", and by whom.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open(path, taken, time.monotonic() + wait)
    try:
        if descriptor is None:
            with held(path.with_name(f"{path.name.removesuffix('lock')}holder"), taken):
                yield
            return
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{this_process()}\n".encode(), 0)
        yield
    finally:
        if descriptor is not None:
            if remove:
                path.unlink(missing_ok=True)
            os.close(descriptor)  # releases the lock


def _open(path: Path, taken: str, until: float) -> int | None:
    """The descriptor of a lock file that this process holds; None if the file system has no locks."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
            os.close(descriptor)  # its holder has removed it meanwhile
        except BlockingIOError as error:
            holder = os.read(descriptor, 1000).decode(errors="replace").strip()
            os.close(descriptor)
            if time.monotonic() < until:
                time.sleep(0.05)
                continue
            raise BadInputError(f"{taken}, by {holder or 'another process'}") from error
        except OSError as error:
            os.close(descriptor)
            if error.errno not in WITHOUT_LOCKS:
                raise
            return None


@contextmanager
def held(path: Path, taken: str) -> Iterator[None]:
    """Hold the file `holder`; a holder that is known to be gone is replaced.

    Raises BadInputError naming the holder and saying which file to remove if it is gone.
    """
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            break
        except FileExistsError as error:
            holder = path.read_text(encoding="utf-8", errors="replace").strip()
            if not is_dead(holder):
                message = f"{taken}, by {holder or 'another process'}; if that is gone, remove {path}"
                raise BadInputError(message) from error
            path.unlink(missing_ok=True)
    try:
        os.write(descriptor, f"{this_process()}\n".encode())
        os.close(descriptor)
        yield
    finally:
        path.unlink(missing_ok=True)


def is_dead(holder: str) -> bool:
    """Whether a holder is known to be gone: no such process on this host, or this job before it was queued again."""
    host, _, rest = holder.removeprefix("host ").partition(", process ")
    number, _, rest = rest.partition(", ")
    now, then = (re.match(r"job (\d+) queued again (\d+) times", text) for text in (this_job(), rest))
    if now and then and now[1] == then[1] and int(then[2]) < int(now[2]):
        return True
    return host == socket.gethostname() and number.isdecimal() and not Path(f"/proc/{number}").exists()
