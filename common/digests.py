"""Digests of files."""

import hashlib
from io import BufferedReader
from pathlib import Path


def sha256(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return sha256_of(file)


def sha256_of(file: BufferedReader) -> str:
    """The sha256 of the content of an open file, in hexadecimal."""
    return hashlib.file_digest(file, "sha256").hexdigest()
