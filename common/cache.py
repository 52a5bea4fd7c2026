"""The cache for files that can be made again: the user's cache folder, or a temporary one if that is read-only."""

import atexit
import os
import shutil
import sys
from pathlib import Path
from tempfile import mkdtemp

from platformdirs import user_cache_path

NAME = "robustforensics"
VARIABLE = "ROBUSTFORENSICS_CACHE"  # names another folder; worker processes inherit it


def cached(name: str) -> Path:
    """The path of a file in the cache: where it is, or where it can be written.

    If the cache folder is read-only, a temporary folder takes its place until this process ends, with a line on stderr.
    """
    folder = cache_folder()
    if folder and (os.path.exists(folder / name) or is_writable(folder)):  # noqa: PTH110 - Path.exists may raise
        return folder / name
    temporary = Path(mkdtemp(prefix=f"{NAME}-"))
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    why = f"{folder} cannot be written to" if folder else "this user has no home folder"
    message = f"{why}, so {temporary} is the cache until the end; {VARIABLE} may name another"
    print(message, file=sys.stderr, flush=True)
    os.environ[VARIABLE] = str(temporary)
    return temporary / name


def cache_folder() -> Path | None:
    """The folder of the cache; None for a user without a name and without HOME, as in some containers."""
    try:
        return Path(os.environ.get(VARIABLE) or user_cache_path(NAME))
    except RuntimeError:
        return None


def is_writable(folder: Path) -> bool:
    """Make a folder if it does not exist; return whether files can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
