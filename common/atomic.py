"""Writes that a kill cannot leave half done: everything goes to a temporary name and is renamed at the end."""

import csv
import errno
import fcntl
import io
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL = ".partial"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path with the same suffix; it becomes `path` if the block ends well, and
    vanishes if it raises.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(
        f".{path.stem[:40]}.{os.getpid()}.{secrets.token_hex(4)}.tmp{path.suffix[:40]}"
    )  # nodes share folders
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path` atomically; names of files that are no UTF-8 keep their bytes."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that becomes `path` if the block ends well.

    A folder of that name therefore is complete. What killed processes left of it is removed; if another process
    finishes the same folder meanwhile, its result stays and ours is dropped. Raises FileExistsError if `path` is there
    from the start.
    """
    if path.exists():
        raise FileExistsError(f"{path} is there, but not as this stage leaves it; remove it to have it made anew")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _guard(path.parent):
        _remove_leftovers(path)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=PARTIAL, dir=path.parent))
        temporary.chmod(0o777 & ~_umask())
        lock = _lock(temporary)
    try:
        yield temporary
        try:
            temporary.rename(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(lock)


def _lock(folder: Path, wait: bool = False) -> int:
    """Lock a folder; closing the descriptor returned, or the death of this process, releases it.

    Raises BlockingIOError if a living process holds it and we do not `wait`.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _guard(folder: Path) -> Iterator[None]:
    """One process at a time makes and removes temporary folders here: none is seen before it is locked."""
    descriptor = _lock(folder, wait=True)
    try:
        yield
    finally:
        os.close(descriptor)


def _remove_leftovers(path: Path) -> None:
    pattern = re.compile(re.escape(f".{path.name}.") + r"[^.]+" + re.escape(PARTIAL))
    for entry in path.parent.iterdir():
        if pattern.fullmatch(entry.name):
            with suppress(BlockingIOError, FileNotFoundError):
                lock = _lock(entry)
                shutil.rmtree(entry, ignore_errors=True)
                os.close(lock)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_table(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write rows, the heads of the columns first, as CSV."""
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    write_text(path, table.getvalue())
