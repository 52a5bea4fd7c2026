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
from pathlib import Path
from typing import Any, NamedTuple

from common.version import VERSION
from forensics.serve.batch import Batch
from forensics.serve.job import KINDS, UNFINISHED, Job, Outcome, State, new_id, new_job, write_result
from forensics.serve.keep import read_results
from forensics.serve.uploads import Limits, Refused, Upload, Uploads
from inference.evidence.case import Case
from inference.evidence.limits import counted
from inference.scorer import Cancelled, Progress, Scorer

HISTORY = 200  # finished jobs that are kept
KEEP_ALIVE = 15.0  # seconds after which `changes` yields an empty change
ENDING = 3.0  # seconds that the server waits at its end for the file that is being scored
STUCK = 60.0  # seconds beyond the limit of work after which a file counts as stuck: its networks cannot be interrupted


LOST = Outcome(State.LOST, "lost when the server ended: send it again")


class TookTooLong(Cancelled):
    """Raised when a file takes more seconds than allowed."""


class Change(NamedTuple):
    """What changed since the change before: jobs, and the ids of deleted jobs. The first change holds all jobs."""

    jobs: list[dict[str, Any]]
    gone: list[str]
    is_all: bool = False


class Health(NamedTuple):
    """What anybody may know of a server: its version, whether it can score, and how many files wait."""

    version: str
    alive: bool
    waiting: int


class Listener:
    """The ids of the jobs that changed since a client last looked."""

    def __init__(self) -> None:
        self.changed: set[str] = set()
        self.wake = asyncio.Event()


class Jobs:
    """The queue and the history of a server.

    `folder` holds each file as long as it is needed, and the results. With `keep`, that folder holds the results, and
    those of an earlier server are there again.
    """

    def __init__(self, scorer: Scorer, folder: Path, limits: Limits, keep: Path | None = None) -> None:
        """Raises BadInputError if a result in `keep` cannot be read."""
        self.scorer, self.folder, self.limits, self.keep = scorer, folder, limits, keep
        self.results = keep or folder
        kept, batches = read_results(keep) if keep else ([], [])
        self.jobs = {job.id: job for job in kept}  # in the order in which they came
        self.batches = {batch.id: batch for batch in batches}
        self.is_stopped = False
        self.uploads = Uploads(limits)
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
        self._finished = kept  # in the order in which they ended
        self._listeners: set[Listener] = set()
        self._thread = ThreadPoolExecutor(1, "scorer")
        self._worker: asyncio.Task[None] | None = None
        self._due: float | None = None  # when the file that is being scored must be finished
        self._forget()

    async def receive(self, name: str, chunks: AsyncIterator[bytes], case: Case | None = None) -> Job:
        """Write a file as it arrives and put it into the queue.

        Raises Refused if the queue is full, the file too large, the upload stalled or the disk full, and then keeps
        nothing of the file.
        """
        if self.is_stopped:
            raise Refused(503, "The server is ending.")
        unfinished = sum(job.state in UNFINISHED for job in self.jobs.values()) + self.uploads.count
        if unfinished >= self.limits.queue:
            raise Refused(503, f"The queue is full: it holds {counted(self.limits.queue, 'file')}. Try again later.")
        job = new_job(name, self.folder, self.results, case)
        await self.uploads.save(job.path, chunks)
        try:
            self._note(job, LOST)
        except OSError as error:
            job.path.unlink(missing_ok=True)
            raise Refused(507, f"The server cannot keep the file: {error.strerror}.") from error
        self.jobs[job.id] = job
        self._queue.put_nowait(job)
        self._notify(job)
        return job

    async def receive_batch(self, files: AsyncIterator[Upload], case: Case | None = None) -> Batch:
        """Put files into the queue as they arrive. Raises Refused as `receive` does, and then keeps none of them."""
        batch = Batch(new_id(), [])
        try:
            async for name, chunks in files:
                if len(batch.jobs) == self.limits.queue:
                    most = counted(self.limits.queue, "file")
                    raise Refused(413, f"A batch may hold {most}, the limit of this server.")
                batch.jobs.append(await self.receive(name, chunks, case))
            batch.jobs = [job for job in batch.jobs if job.id in self.jobs]
            if not batch.jobs:
                raise Refused(400, "The form holds no file, or all were deleted meanwhile.")
            self._save(batch)
        except BaseException as error:
            for job in batch.jobs:
                self.delete(job)
            if isinstance(error, OSError):
                raise Refused(507, f"The server cannot keep the batch: {error.strerror}.") from error
            raise
        self.batches[batch.id] = batch
        return batch

    def find(self, job_id: str) -> Job:
        """The job with this id. Raises Refused if there is none."""
        if job_id not in self.jobs:
            raise Refused(404, "There is no such job. It may have been deleted.")
        return self.jobs[job_id]

    def find_batch(self, batch_id: str) -> Batch:
        """The batch with this id. Raises Refused if there is none."""
        if batch_id not in self.batches:
            raise Refused(404, "There is no such batch. It may have been deleted.")
        return self.batches[batch_id]

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
        for kind in KINDS:
            job.file(kind).unlink(missing_ok=True)
        for batch in [batch for batch in self.batches.values() if job in batch.jobs]:
            batch.jobs.remove(job)
            self._save(batch)
            if not batch.jobs:
                del self.batches[batch.id]

    def _note(self, job: Job, outcome: Outcome) -> None:
        """Let it outlive the server how a job ends, unless it is done: then it has a result."""
        if self.keep:
            job.note(outcome.state, outcome.reason)

    def _save(self, batch: Batch) -> None:
        """Let a batch outlive the server, or end with its last job."""
        if self.keep:
            batch.save(self.keep)

    def stop(self) -> None:
        """Cancel all jobs, end all streams of changes, and abandon the uploads."""
        self.is_stopped = True
        for job in list(self.jobs.values()):
            self.cancel(job)
        self.uploads.stop()
        for listener in self._listeners:
            listener.wake.set()

    def start(self) -> None:
        """Begin to score."""
        self._worker = asyncio.create_task(self._work())

    def health(self) -> Health:
        """Whether the server can score. It cannot if it ends, its networks did not load, or a file is stuck."""
        is_working = self._worker is not None and not self._worker.done() and not self.is_stopped
        is_stuck = self._due is not None and time.monotonic() > self._due + STUCK
        waiting = sum(job.state == State.WAITING for job in self.jobs.values())
        return Health(VERSION, is_working and not is_stuck and self.scorer.can_score, waiting)

    async def _work(self) -> None:
        """Score one file after another, without end."""
        loop = asyncio.get_running_loop()
        while True:
            job = await self._queue.get()
            if job.state != State.WAITING:  # cancelled meanwhile
                continue
            job.state = State.RUNNING
            self._notify(job)
            self._due = time.monotonic() + self.limits.seconds
            outcome = await loop.run_in_executor(self._thread, self._score, job, loop, self._due)
            self._due = None
            self._finish(job, outcome)

    async def end(self) -> None:
        """Stop, and wait a little for the file that is being scored, because its networks cannot be interrupted."""
        self.stop()
        deadline = time.monotonic() + ENDING
        while time.monotonic() < deadline and any(job.state == State.RUNNING for job in self.jobs.values()):
            await asyncio.sleep(0.02)
        if self._worker:
            self._worker.cancel()
            with suppress(asyncio.CancelledError):
                await self._worker
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _score(self, job: Job, loop: asyncio.AbstractEventLoop, due: float) -> Outcome:
        """Score a file and write its evidence, in the second thread. No error keeps the next file from its turn."""

        def watch(progress: Progress) -> None:
            if job.is_cancelled:
                raise Cancelled
            if time.monotonic() > due:
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
        if self.is_stopped and outcome.state == State.CANCELLED:
            outcome = LOST
        job.state, job.outcome = outcome.state, outcome
        job.finished.set()
        if outcome.state == State.DONE:
            job.file("job").unlink(missing_ok=True)
        elif job.id in self.jobs:
            with suppress(OSError):  # on a full disk the note of before stays, which says that the job was lost
                self._note(job, outcome)
        if job.id in self.jobs:
            self._finished.append(job)
            self._notify(job)
        else:  # deleted while it was scored
            self.delete(job)
        self._forget()

    def _forget(self) -> None:
        """Remove the oldest jobs of a full history, but none of a batch that is not finished."""
        kept = {job for batch in self.batches.values() if batch.state in UNFINISHED for job in batch.jobs}
        for old in self._finished[:-HISTORY]:
            if old not in kept:
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
