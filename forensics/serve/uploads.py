"""Files as they arrive: what a server takes, and when it gives up waiting."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from pathlib import Path

STALLED = 60.0  # seconds without a byte after which an upload is abandoned

Upload = tuple[str, AsyncIterator[bytes]]  # a file's name and its content


@dataclass(frozen=True)
class Limits:
    """The most that a file may take, and the most files at a time."""

    bytes: int = 2_000_000_000
    seconds: int = 1800  # of work
    queue: int = 20  # files that arrive, wait or are scored


class Refused(Exception):  # noqa: N818 - the client's error, not ours
    """Raised when a request is refused, with an HTTP status and a sentence that says why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Uploads:
    """The files that are arriving; `count` is their number."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.count, self.is_stopped = limits, 0, False
        self._deadlines: set[asyncio.Timeout] = set()

    async def save(self, path: Path, chunks: AsyncIterator[bytes]) -> None:
        """Write a file as it arrives.

        Raises Refused if it is too large or the disk full, and what `punctual` raises, and then keeps nothing of it.
        """
        self.count += 1
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # a cleaner of old files may have removed it
            await self._write(path, chunks)
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise Refused(507, f"The server cannot keep the file: {error.strerror}.") from error
            raise
        finally:
            self.count -= 1

    async def _write(self, path: Path, chunks: AsyncIterator[bytes]) -> None:
        size = 0
        with path.open("xb") as file:
            async for chunk in chunks:
                size += len(chunk)
                self.check_size(size)
                file.write(chunk)

    def check_size(self, size: int) -> None:
        """Raise Refused for too many bytes."""
        if size > self.limits.bytes:
            raise Refused(413, f"The file has more than {self.limits.bytes:,} bytes, the limit of this server.")

    async def punctual(self, chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """Yield the chunks of a request. Raises Refused if none comes for STALLED seconds, or the server is ending."""
        while not self.is_stopped:
            deadline = asyncio.timeout(STALLED)
            self._deadlines.add(deadline)
            try:
                async with deadline:
                    chunk = await anext(chunks, None)
            except TimeoutError:
                break
            finally:
                self._deadlines.discard(deadline)
            if chunk is None:
                return
            yield chunk
        raise Refused(408, f"No data came for {STALLED:.0f} seconds, or the server is ending.")

    def stop(self) -> None:
        """Abandon all of them."""
        self.is_stopped = True
        for deadline in self._deadlines:
            deadline.reschedule(0)
