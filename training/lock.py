"""One training at a time in a run's folder.

Rank 0 holds a lock on the file `lock` in the folder until its process ends, however it ends. On a file system without
locks it creates the file `holder` instead, and removes it at the end. Both name the host, the process and the job.
"""

import errno
import fcntl
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from common.errors import BadInputError

LOCK, HOLDER = "lock", "holder"
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
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder, and create it if it is missing. Raises BadInputError naming the holder if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 1000).decode(errors="replace").strip()
            raise BadInputError(f"{folder} is being trained already, by {holder or 'another process'}") from error
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
            with held(folder / HOLDER):
                yield
            return
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{this_process()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)  # releases the lock. The file stays: another process may hold it by now


@contextmanager
def held(path: Path) -> Iterator[None]:
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
                raise BadInputError(
                    f"{path.parent} is being trained already, by {holder or 'another process'}; "
                    f"if that is gone, remove {path}"
                ) from error
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
