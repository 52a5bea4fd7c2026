"""Where files are kept that can be made again: the user's cache folder, or a temporary one where that is read-only."""

import atexit
import os
import shutil
import sys
from pathlib import Path
from tempfile import mkdtemp

from platformdirs import user_cache_path

NAME = "robustforensics"
VARIABLE = "ROBUSTFORENSICS_CACHE"  # another folder; worker processes inherit it


def cached(name: str) -> Path:
    """The path of a file in the cache, where it is or where it can be written.

    If the cache folder cannot be written to, a temporary folder takes its place until this process ends; it says so.
    """
    folder = Path(os.environ.get(VARIABLE) or user_cache_path(NAME))
    if (folder / name).exists() or is_writable(folder):
        return folder / name
    temporary = Path(mkdtemp(prefix=f"{NAME}-"))
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    print(f"{folder} cannot be written to; {temporary} serves as cache until the end ({VARIABLE} names another folder)",
          file=sys.stderr, flush=True)  # fmt: skip
    os.environ[VARIABLE] = str(temporary)
    return temporary / name


def is_writable(folder: Path) -> bool:
    """Whether files can be written into a folder, which is made if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
