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
from functools import partial
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
    from tests import serving
    from tests.strange import encode
    from tests.test_fuzzed import CONTAINERS, READERS, TEXTS, file_name, read

SECONDS = 3600
FORM = serving.form([("a.mp4", b"clip")])


def containers(folder: Path, content: bytes) -> None:
    """Describe the content as a video file, by each reader."""
    path = folder / "a"
    path.write_bytes(content)
    for reader in READERS:
        read(reader, path)


def texts(folder: Path, content: bytes) -> None:
    """Read the content as a table, list, or JSON of the kind that its first byte chooses."""
    if content:
        kind = list(TEXTS)[content[0] % len(TEXTS)]
        path = folder / file_name(kind)
        path.write_bytes(content[1:])
        _, reader = TEXTS[kind]
        read(reader, path, [BadInputError])


def boxes(folder: Path, content: bytes) -> None:
    """Read the content as boxes."""
    read(parse_boxes, content.decode("utf-8", "replace"), [BadInputError])


def form(folder: Path, content: bytes) -> None:
    """Take the content as the body of a form that arrives in pieces of seven bytes."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(content), 7):
            yield content[start : start + 7]

    async def take() -> None:
        async for _, body in Form(FORM["Content-Type"], pieces()).files():
            async for _ in body:
                pass

    read(lambda _: asyncio.run(take()), None, [Refused])


def seeds(target: str, folder: Path) -> list[bytes]:
    """Sound files to begin with."""
    if target == "containers":
        frames = list(islice(read_frames(clip("single_face.mp4")), 3))
        return [encode(folder / f"s.{name}", frames, **how).read_bytes() for name, how in CONTAINERS.items()]
    if target == "texts":
        return [bytes([number]) + make(folder) for number, (make, _) in enumerate(TEXTS.values())]
    return {"boxes": [b"1\n1 2 30 40 0.9 \n"], "form": [FORM["body"]]}[target]


TARGETS: dict[str, Callable[[Path, bytes], None]] = {
    function.__name__: function for function in (containers, texts, boxes, form)
}


def main() -> None:
    """Feed one target; atheris ends the process."""
    if len(sys.argv) not in (2, 3) or sys.argv[1] not in TARGETS:
        sys.exit(__doc__)
    target, seconds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else SECONDS
    corpus = Path("fuzz") / target
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        for number, seed in enumerate(seeds(target, Path(made))):
            (corpus / f"seed{number}").write_bytes(seed)
        limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *limits, "-max_len=100000", str(corpus)], partial(TARGETS[target], Path(made)))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
