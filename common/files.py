"""Files: writes that neither a kill nor a power cut leaves half done, and digests.

Everything is written under a temporary name, synced to the disk, and renamed. Then the folder that holds the name is
synced. Without the first sync a file system may keep the new name and lose the content.
"""

import csv
import ctypes
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]  # of the project

PARTIAL = ".partial"


def file_beside(submission: Path, suffix: str) -> Path:
    """A file beside a submission, such as `submission.jsonl`; beside `run.1` it is `run.1.jsonl`."""
    return submission.with_name(submission.name.removesuffix(".csv") + suffix)


@contextmanager
def atomic_file(path: Path, synced: bool = True) -> Iterator[Path]:
    """Yield a temporary path with the same suffix; rename it to `path` if the block ends well, remove it if it raises.

    With `synced=False` a power cut may leave an empty file. This is for thousands of small files, followed by one
    `sync_all_in`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The nodes of a cluster share folders, so a process number alone is not unique.
    temporary = path.with_name(f".{path.stem[:40]}.{os.getpid()}.{secrets.token_hex(4)}.tmp{path.suffix[:40]}")
    try:
        yield temporary
        if synced:
            sync(temporary)
        temporary.replace(path)
        if synced:
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def is_written(path: Path) -> bool:
    """Whether a file of `atomic_file` is there and not empty, as a power cut may leave it."""
    return path.is_file() and path.stat().st_size > 0


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk. Some network disks cannot sync a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not path.is_dir() or error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def sync_all_in(folder: Path) -> None:
    """Wait until all files in a folder are on the disk, by one call for the file system. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    except AttributeError:  # a system other than Linux
        os.sync()
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically. File names in it that are not UTF-8 keep their bytes."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that becomes `path` if the block ends well.

    So a folder named `path` is always complete. Leftovers of killed processes are removed first. If another process
    finishes the same folder meanwhile, its folder stays and ours is discarded. Raises FileExistsError if `path` exists
    at the start.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists, but not as this stage leaves it; remove it, and it will be made again")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _guard(path.parent):
        _remove_leftovers(path)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=PARTIAL, dir=path.parent))
        temporary.chmod(0o777 & ~_umask())
        lock = _lock(temporary)
    try:
        yield temporary
        sync_all_in(temporary)
        try:
            temporary.rename(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(lock)


def _lock(folder: Path, wait: bool = False) -> int:
    """Lock a folder and return its descriptor. Closing that, or the death of this process, releases the lock.

    If a living process holds the lock: with `wait`, wait for it; else raise BlockingIOError.
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
    """Let one process at a time make and remove temporary folders here, so that none is seen before it is locked."""
    descriptor = _lock(folder, wait=True)
    try:
        yield
    finally:
        os.close(descriptor)


def _remove_leftovers(path: Path) -> None:
    """Remove the temporary folders of `path` that no living process has locked."""
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


def from_root(path: Path) -> Path:
    """A file or folder of this project: as it is named, or below the project if it does not exist where one works."""
    return path if path.is_absolute() or path.exists() or not (ROOT / path).exists() else ROOT / path


def write_table(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write rows as CSV, atomically; the first row names the columns. Names that are not UTF-8 keep their bytes."""
    with (
        atomic_file(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        csv.writer(file, lineterminator="\n").writerows(rows)


FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how cells begin that spreadsheets compute


def write_table_for_people(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """As `write_table`, but a spreadsheet shows every cell as text: a name that it would compute gets an apostrophe."""
    write_table(path, ([as_text(cell) for cell in row] for row in rows))


def as_text(cell: object) -> object:
    """A cell of a table for people."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def from_text(cell: str) -> str:
    """What `as_text` made a cell from."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def sha256(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


FileState = list[str | int]


def file_state(path: Path) -> FileState | None:
    """A file's path, size in bytes and time of the last change in nanoseconds; None if there is no such file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [str(path), status.st_size, status.st_mtime_ns]
