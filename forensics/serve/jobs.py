"""The jobs of a server: files that wait, the one that is being scored, and a bounded history.

All state belongs to the thread of the event loop. A second thread scores one file after another. It reads
`Job.is_cancelled` and changes nothing in a job.
"""

import asyncio
import time
import traceback
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from forensics.serve.job import UNFINISHED, Job, Outcome, State, new_job, write_result
from inference.scorer import Cancelled, Progress, Scorer

HISTORY = 200  # finished jobs that are kept
STALLED = 60.0  # seconds without a byte after which an upload is abandoned
KEEP_ALIVE = 15.0  # seconds after which `changes` yields an empty change
ENDING = 3.0  # seconds that the server waits at its end for the file that is being scored


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


class TookTooLong(Cancelled):
    """Raised when a file takes more seconds than allowed."""


class Change(NamedTuple):
    """What changed since the change before: jobs, and the ids of deleted jobs. The first change holds all jobs."""

    jobs: list[dict[str, Any]]
    gone: list[str]
    is_all: bool = False


class Listener:
    """The ids of the jobs that changed since a client last looked."""

    def __init__(self) -> None:
        self.changed: set[str] = set()
        self.wake = asyncio.Event()


class Jobs:
    """The queue and the history of a server. `folder` holds each file as long as it is needed."""

    def __init__(self, scorer: Scorer, folder: Path, limits: Limits) -> None:
        self.scorer, self.folder, self.limits = scorer, folder, limits
        self.jobs: dict[str, Job] = {}  # in the order in which they came
        self.is_stopped = False
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
        self._finished: list[Job] = []  # in the order in which they ended
        self._arriving: set[asyncio.Timeout] = set()
        self._listeners: set[Listener] = set()
        self._thread = ThreadPoolExecutor(1, "scorer")

    async def receive(self, name: str, chunks: AsyncIterator[bytes]) -> Job:
        """Write a file as it arrives and put it into the queue.

        Raises Refused if the queue is full, the file too large, the upload stalled or the disk full, and then keeps
        nothing of the file.
        """
        if self.is_stopped:
            raise Refused(503, "The server is ending.")
        unfinished = sum(job.state in UNFINISHED for job in self.jobs.values()) + len(self._arriving)
        if unfinished >= self.limits.queue:
            raise Refused(503, f"The queue is full: it holds {self.limits.queue} files. Try again later.")
        job = new_job(name, self.folder)
        try:
            async with asyncio.timeout(STALLED) as deadline:
                self._arriving.add(deadline)
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # a cleaner of old files may have removed it
                await self._write(job.path, chunks, deadline)
        except BaseException as error:
            job.path.unlink(missing_ok=True)
            if isinstance(error, TimeoutError):
                raise Refused(408, f"No data came for {STALLED:.0f} seconds, or the server is ending.") from error
            if isinstance(error, OSError):
                raise Refused(507, f"The server cannot keep the file: {error.strerror}.") from error
            raise
        finally:
            self._arriving.discard(deadline)
        self.jobs[job.id] = job
        self._queue.put_nowait(job)
        self._notify(job)
        return job

    async def _write(self, path: Path, chunks: AsyncIterator[bytes], deadline: asyncio.Timeout) -> None:
        """Write the chunks. Each postpones the deadline. Raises Refused for too many bytes."""
        size, now = 0, asyncio.get_running_loop().time
        with path.open("xb") as file:
            async for chunk in chunks:
                size += len(chunk)
                self.check_size(size)
                file.write(chunk)
                deadline.reschedule(now() + (0 if self.is_stopped else STALLED))

    def check_size(self, size: int) -> None:
        """Raise Refused for too many bytes."""
        if size > self.limits.bytes:
            raise Refused(413, f"The file has more than {self.limits.bytes:,} bytes, the limit of this server.")

    def find(self, job_id: str) -> Job:
        """The job with this id. Raises Refused if there is none."""
        if job_id not in self.jobs:
            raise Refused(404, "There is no such job. It may have been deleted.")
        return self.jobs[job_id]

    def cancel(self, job: Job) -> None:
        """End a job: at once if it waits, within about a second if it is being scored. Ignores finished jobs."""
        if job.state in UNFINISHED:
            job.is_cancelled = True
        if job.state == State.WAITING:
            self._finish(job, Outcome(State.CANCELLED, "cancelled before its turn came"))

    def delete(self, job: Job) -> None:
        """Delete a job and its files; cancel it first if it is not finished."""
        self.cancel(job)
        if job in self._finished:
            self._finished.remove(job)
        if self.jobs.pop(job.id, None):
            self._notify(job)
        for path in (job.page, job.result):
            path.unlink(missing_ok=True)

    def stop(self) -> None:
        """Cancel all jobs, end all streams of changes, and abandon the uploads."""
        self.is_stopped = True
        for job in list(self.jobs.values()):
            self.cancel(job)
        for deadline in self._arriving:
            deadline.reschedule(0)
        for listener in self._listeners:
            listener.wake.set()

    async def work(self) -> None:
        """Score one file after another, without end."""
        loop = asyncio.get_running_loop()
        while True:
            job = await self._queue.get()
            if job.state != State.WAITING:  # cancelled meanwhile
                continue
            job.state = State.RUNNING
            self._notify(job)
            self._finish(job, await loop.run_in_executor(self._thread, self._score, job, loop))

    async def end(self, worker: asyncio.Task[None]) -> None:
        """Stop, and wait a little for the file that is being scored, because its networks cannot be interrupted."""
        self.stop()
        deadline = time.monotonic() + ENDING
        while time.monotonic() < deadline and any(job.state == State.RUNNING for job in self.jobs.values()):
            await asyncio.sleep(0.02)
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _score(self, job: Job, loop: asyncio.AbstractEventLoop) -> Outcome:
        """Score a file and write its evidence, in the second thread. No error keeps the next file from its turn."""
        deadline = time.monotonic() + self.limits.seconds

        def watch(progress: Progress) -> None:
            if job.is_cancelled:
                raise Cancelled
            if time.monotonic() > deadline:
                raise TookTooLong
            loop.call_soon_threadsafe(self._progress, job, progress)

        try:
            result = self.scorer.score(job.path, job.name, watch)
            watch(Progress("evidence", 0, None))
            return write_result(job, result)
        except TookTooLong:
            return Outcome(State.TOO_LONG, f"stopped after {self.limits.seconds} seconds, the limit of this server")
        except Cancelled:
            return Outcome(State.CANCELLED, "cancelled while it was scored")
        except Exception as error:  # a bug or a full disk; the server goes on
            traceback.print_exc()
            return Outcome(State.FAILED, f"{type(error).__name__}: {error}")

    def _progress(self, job: Job, progress: Progress) -> None:
        job.progress = progress
        self._notify(job)

    def _finish(self, job: Job, outcome: Outcome) -> None:
        """End a job: remove its upload, and the oldest jobs of a full history."""
        job.path.unlink(missing_ok=True)
        job.state, job.outcome = outcome.state, outcome
        job.finished.set()
        if job.id in self.jobs:
            self._finished.append(job)
            self._notify(job)
        else:  # deleted while it was scored
            self.delete(job)
        for old in self._finished[:-HISTORY]:
            self.delete(old)

    def _notify(self, job: Job) -> None:
        """Tell all listeners that a job changed."""
        for listener in self._listeners:
            listener.changed.add(job.id)
            listener.wake.set()

    async def changes(self) -> AsyncIterator[Change]:
        """Yield all jobs, then what changes, until the server ends. Where nothing changes, an empty change comes."""
        listener = Listener()
        self._listeners.add(listener)
        try:
            yield Change(self.to_json(), [], is_all=True)
            while not self.is_stopped:
                with suppress(TimeoutError):
                    async with asyncio.timeout(KEEP_ALIVE):
                        await listener.wake.wait()
                changed = sorted(listener.changed)
                listener.changed.clear()
                listener.wake.clear()
                kept = [self.jobs[job_id].to_json() for job_id in changed if job_id in self.jobs]
                yield Change(kept, [job_id for job_id in changed if job_id not in self.jobs])
        finally:
            self._listeners.discard(listener)

    def to_json(self) -> list[dict[str, Any]]:
        """All jobs, the oldest first."""
        return [job.to_json() for job in self.jobs.values()]
