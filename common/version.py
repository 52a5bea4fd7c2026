"""The version of this software: the one place that holds it.

A release is a commit with the tag `v<VERSION>`; CHANGELOG.md says what is new in it. Between releases the commit tells
versions apart, so `software()` names both.
"""

import subprocess
from functools import cache

from common.files import ROOT

VERSION = "0.1.0"
NAME = "RobustForensics, rebuilt"
BUILT = ROOT / "common/commit.txt"


def commit() -> str:
    """The git commit of this code, with `-dirty` if tracked files differ from it; `unknown` outside a repository."""
    if BUILT.is_file():  # in the file that `make app` builds
        return BUILT.read_text(encoding="utf-8").strip()
    words = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


@cache
def software() -> str:
    """Version and commit, as results and `--version` name them: `0.1.0, commit 1f2e...`."""
    return f"{VERSION}, commit {commit()}"
