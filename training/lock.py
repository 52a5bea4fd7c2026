"""One training at a time in a run's folder.

Rank 0 holds a lock on the file `lock` in the folder until its process ends, however it ends. On a file system without
locks it makes the file `holder` instead and removes it at the end. Both name the host, the process and the job.
"""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from common.errors import BadInputError

LOCK, HOLDER = "lock", "holder"
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def who() -> str:
    """This process, in words."""
    job = os.environ.get("SLURM_JOB_ID")
    began = datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    return f"host {socket.gethostname()}, process {os.getpid()}{f', job {job}' * bool(job)}, since {began}"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder, which must exist. Raises BadInputError naming the holder if there is one."""
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
        os.pwrite(descriptor, f"{who()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)  # this releases the lock; the file stays, for whoever removed it might remove another's


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the file `holder`. Raises BadInputError naming the holder and saying how to remove it.

    A holder on this host whose process is gone is replaced.
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
        os.write(descriptor, f"{who()}\n".encode())
        os.close(descriptor)
        yield
    finally:
        path.unlink(missing_ok=True)


def is_dead(holder: str) -> bool:
    """Whether a holder is known to be gone: a process of this host that does not exist."""
    host, _, rest = holder.removeprefix("host ").partition(", process ")
    number = rest.partition(",")[0]
    return host == socket.gethostname() and number.isdecimal() and not Path(f"/proc/{number}").exists()
