"""Feed what reads strangers' bytes with what atheris makes up, guided by the code that it reaches.

Whatever the bytes are, the readers must answer or raise their one documented error, within seconds and 2 GB. atheris
ends at the first file that breaks this and leaves it as crash-*. `make fuzz` sets up its environment and runs this.
Files that reach new code stay in fuzz/<target>, and the next run begins with them.

    .venv-tools/bin/python -m tests.fuzz containers|texts|boxes|form [SECONDS]
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from itertools import islice
from pathlib import Path

import atheris

INSTRUMENTED = ["common", "faces", "forensics", "inference", "preprocessing", "python_multipart", "quality"]
with atheris.instrument_imports(include=INSTRUMENTED):
    from common.errors import BadInputError
    from faces.boxes import parse_boxes
    from faces.video import read_frames
    from forensics.serve.multipart import Form
    from forensics.serve.uploads import Refused
    from pretrain.clips import clip
    from tests.strange import encode
    from tests.test_fuzzed import CONTAINERS, READERS, TEXTS, read

SECONDS = 3600
FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\nclip\r\n--x--\r\n'
MAKERS = list(TEXTS.values())


def in_file(content: bytes, name: str = "a") -> Path:
    """A file with this content, always the same one."""
    path = FOLDER / name
    path.write_bytes(content)
    return path


def containers(content: bytes) -> None:
    """Describe the content as a video file, by each reader."""
    path = in_file(content)
    for reader in READERS:
        read(reader, path)


def texts(content: bytes) -> None:
    """Read the content as a table, list, or JSON of the kind that its first byte chooses."""
    if content:
        kind = content[0] % len(MAKERS)
        read(MAKERS[kind][1], in_file(content[1:], name_of(kind)), [BadInputError])


def name_of(kind: int) -> str:
    """The name of a file of that kind."""
    return "t.json" if list(TEXTS)[kind] in ("json table", "metadata", "info") else "t.csv"


def boxes(content: bytes) -> None:
    """Read the content as boxes."""
    read(parse_boxes, content.decode("utf-8", "replace"), [BadInputError])


def form(content: bytes) -> None:
    """Take the content as the body of a form that arrives in pieces of seven bytes."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(content), 7):
            yield content[start : start + 7]

    async def take() -> None:
        async for _, body in Form("multipart/form-data; boundary=x", pieces()).files():
            async for _ in body:
                pass

    read(lambda _: asyncio.run(take()), None, [Refused])


def seeds(target: str) -> list[bytes]:
    """Sound files to begin with."""
    if target == "containers":
        frames = list(islice(read_frames(clip("single_face.mp4")), 3))
        return [encode(FOLDER / f"s.{name}", frames, **how).read_bytes() for name, how in CONTAINERS.items()]
    if target == "texts":
        return [bytes([kind]) + make(FOLDER) for kind, (make, _) in enumerate(MAKERS)]
    return {"boxes": [b"1 2 30 40 0.9\n"], "form": [FORM]}[target]


TARGETS: dict[str, Callable[[bytes], None]] = {
    function.__name__: function for function in (containers, texts, boxes, form)
}

if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in TARGETS:
        sys.exit(__doc__)
    target, seconds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else SECONDS
    corpus = Path("fuzz") / target
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        FOLDER = Path(made)
        for number, seed in enumerate(seeds(target)):
            (corpus / f"seed{number}").write_bytes(seed)
        limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *limits, "-max_len=100000", str(corpus)], TARGETS[target])
        atheris.Fuzz()
