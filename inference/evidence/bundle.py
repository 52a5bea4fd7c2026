"""The evidence of one video as one file to hand over: page, JSON, digests, signature if there is one, and a PDF."""

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

from common.errors import BadInputError
from common.files import atomic_file
from common.version import NAME, software
from inference.evidence.files import SIGNATURE, SUFFIXES
from inference.evidence.pages import DIGESTS

NOTE = ".README.txt"
ALLOWED = (*SUFFIXES, SIGNATURE, NOTE, ".pdf")  # suffixes of the files in a bundle
UNCHECKED = {NOTE: "note", ".pdf": "PDF"}  # without a digest
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PRINT = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-pdf-header-footer")
PATIENCE = 60  # seconds for the browser
MOST = 500_000_000  # bytes in a bundle, unpacked


def write_bundle(path: Path, video: str, contents: Mapping[str, bytes]) -> None:
    """Write a ZIP file with the contents of the evidence's files, by suffix; `video` is how their names begin.

    A note for whoever gets the file goes along.
    """
    contents = {NOTE: note(video, contents).encode(), **contents}
    with atomic_file(path) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED) as bundle:
        for suffix, content in contents.items():
            bundle.writestr(f"{video}{suffix}", content)


def note(video: str, suffixes: Collection[str]) -> str:
    """What a bundle holds and how it is checked, for whoever gets it."""
    about = {
        ".html": "the page: open it in any browser; it needs no network",
        ".pdf": "the page as printed, without the maps over the faces; it has no digest, so the page is authoritative",
        ".json": "the same facts for programs",
        DIGESTS: "SHA-256 digests of the page, the facts, the examined file and the software's parts",
        SIGNATURE: "the examiner's signature of these digests",
    }
    lines = [f"  {video}{suffix}\n      {text}" for suffix, text in about.items() if suffix in suffixes]
    unsigned = "This evidence is not signed: the check finds accidental changes, not deliberate ones."
    return "\n".join(
        [
            f"Evidence about the file {video}, by {NAME}, version {software()}.",
            "",
            *lines,
            "",
            "With this software and the examined file, check that the page and the facts agree with the digests, and",
            "that the score is the same (up to 0.001 on another machine):",
            "",
            f"  python -m inference.verify {shlex.quote(f'{video}.zip')} {shlex.quote(video)}",
            "",
            *([] if SIGNATURE in suffixes else [unsigned, ""]),
        ]
    )


@contextmanager
def print_page(page: Path) -> Iterator[Path | None]:
    """The page of the evidence as a temporary PDF file, by Chromium; None if no Chromium is installed.

    Raises BadInputError if the browser fails. WeasyPrint was looked at: it needs Pango from the system as well, and it
    does not draw the pages as browsers do.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="print-") as folder:
        pdf = Path(folder) / "page.pdf"
        words = [browser, *PRINT, f"--user-data-dir={folder}/profile", f"--print-to-pdf={pdf}", page.resolve().as_uri()]
        try:
            done = subprocess.run(words, capture_output=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired as error:
            raise BadInputError(f"{browser} did not print {page} within {PATIENCE} s") from error
        if not pdf.is_file():
            last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise BadInputError(f"{browser} could not print {page}: {' '.join(last)}")
        yield pdf


@contextmanager
def unpacked(path: Path) -> Iterator[dict[str, Path]]:
    """The files of a bundle in a temporary folder, by suffix.

    Raises BadInputError if it is not a bundle: for other names, names with folders, a name twice, and if it is huge.
    """
    with tempfile.TemporaryDirectory(prefix="evidence-") as folder:
        try:
            with ZipFile(path) as bundle:
                names = bundle.namelist()
                stem = next((name.removesuffix(DIGESTS) for name in names if name.endswith(DIGESTS)), "")
                known = {f"{stem}{suffix}": suffix for suffix in ALLOWED}
                is_whole = {f"{stem}{suffix}" for suffix in SUFFIXES} <= set(names) <= known.keys()
                if not stem or not is_whole or "/" in stem or len(set(names)) < len(names):
                    raise BadInputError(f"{path} is not a bundle of inference.bundle")
                if sum(info.file_size for info in bundle.infolist()) > MOST:
                    raise BadInputError(f"{path} holds more than {MOST:,} bytes")
                files = {}
                for name in names:
                    files[known[name]] = Path(folder) / f"evidence{known[name]}"
                    with bundle.open(name) as source, files[known[name]].open("wb") as target:
                        shutil.copyfileobj(source, target)
        except (BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:  # the last two: encrypted
            raise BadInputError(f"{path} is not a bundle of inference.bundle: {error}") from error
        yield files
