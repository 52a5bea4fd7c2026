"""How far a worker process is, in a file that another process reads."""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

NUMBERS = struct.Struct("=qq")


@dataclass(frozen=True)
class Tally:
    """How many frames are done, and how many there are. One process writes, others read."""

    path: Path

    def write(self, done: int, of: int) -> None:
        """Replace both numbers at once."""
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(file, NUMBERS.pack(done, of), 0)
        finally:
            os.close(file)

    def counter(self, of: int) -> Callable[[int], None]:
        """A function that counts frames as done; there are `of` in all."""
        done = 0

        def count(frames: int) -> None:
            nonlocal done
            done += frames
            self.write(done, of)

        return count

    def read(self) -> tuple[int, int | None]:
        """Both numbers; 0 and None before anything was written."""
        content = self.path.read_bytes() if self.path.is_file() else b""
        return NUMBERS.unpack(content) if len(content) == NUMBERS.size else (0, None)
