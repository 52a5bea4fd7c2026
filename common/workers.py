"""Worker processes that each do one job at a time, how many there may be, and the progress bar."""

import multiprocessing
import queue
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import cv2
from pebble import ProcessExpired, ProcessPool
from tqdm import tqdm

from common.errors import BadInputError

Result = TypeVar("Result")
Job = tuple[Any, ...]  # the picklable arguments of a stage's work function


def patience(video: Path) -> float:
    """Seconds after which a worker counts as stuck on a video: ten minutes, plus 100 seconds per megabyte."""
    try:
        return 600 + video.stat().st_size / 1e4
    except OSError:
        return 600


# What may go wrong with one video. Any other exception of a worker is a bug and ends the run.
FAILURES = (BadInputError, OSError, MemoryError, cv2.error, ProcessExpired)


def progress(**options: Any) -> "tqdm[Any]":  # noqa: ANN401  # tqdm's options
    """A progress bar on stderr, or a line every half minute if stderr is not a terminal."""
    return tqdm(mininterval=0.1 if sys.stderr.isatty() else 30, **options)


def outcome_of(work: Callable[..., Result], job: Job) -> Result | Exception:
    """What a job gives in this process: its result, or its exception of FAILURES."""
    try:
        return work(*job)
    except FAILURES as error:
        return error


JOBS_OF_A_PROCESS = 100  # after these a new process takes its place: decoders leak some memory with every video
RESTARTS = 3  # how often a pool is opened again after its idle workers died


class Workers:
    """A pool of processes that each run one job at a time on one thread. It survives the death of a process."""

    def __init__(self, count: int, initializer: Callable[..., None] | None = None, *arguments: object) -> None:
        """Start `count` processes, at least one; each calls `initializer(*arguments)` first."""
        self.starting = (initializer, *arguments)
        self.count = max(count, 1)
        self._open()

    def _open(self) -> None:
        main = sys.modules["__main__"]
        if getattr(main, "__file__", None) == "<stdin>":  # a new process would look for a file of this name
            del main.__file__
        self.pool = ProcessPool(
            self.count, JOBS_OF_A_PROCESS, _start, self.starting, multiprocessing.get_context("spawn")
        )

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.end(at_once=kind is not None)

    def end(self, at_once: bool = False) -> None:
        """End the processes, after their current jobs or `at_once`."""
        if at_once:
            self.pool.stop()
        else:
            self.pool.close()
        self.pool.join()

    def run(
        self,
        work: Callable[..., Result],
        jobs: dict[str, Job],
        seconds: dict[str, float] | None = None,
        on_tick: Callable[[], None] = lambda: None,
        ahead: int | None = None,
    ) -> Iterator[tuple[str, Result | Exception]]:
        """Yield each job's name and outcome as it finishes: what `work(*job)` returned, or its exception of FAILURES.

        A job that takes longer than its `seconds` is killed and yields TimeoutError. `on_tick` is called about twice
        per second. `ahead` limits the jobs that are started and not yet yielded, for large results. New workers replace
        idle ones that were killed. Raises any other exception of a job, and RuntimeError if workers keep dying.
        """
        left = dict(jobs)
        restarts = 0  # since the last outcome of a job
        while left:
            for name, outcome in self._until_broken(work, left, seconds or {}, on_tick, ahead):
                restarts = 0
                del left[name]
                yield name, outcome
            if left:
                restarts += 1
                if restarts > RESTARTS:
                    raise RuntimeError(
                        "worker processes die before they take a job; if a script of yours starts them, "
                        'it needs `if __name__ == "__main__":`'
                    )
                self.pool.stop()
                self.pool.join()
                self._open()

    def run_with_bar(
        self,
        work: Callable[..., Result],
        jobs: dict[str, Job],
        desc: str,
        seconds: dict[str, float] | None = None,
        unit: str = "video",
        total: int | None = None,
        count: Callable[[], int] | None = None,
        postfix: Callable[[], Mapping[str, object]] = dict,
    ) -> Iterator[tuple[str, Result | Exception]]:
        """As `run`, under a progress bar that is called `desc`. Without jobs there is no bar.

        The bar counts the finished jobs. With `count`, it shows what that returns, out of `total`, in `unit`. What
        `postfix` returns stands behind it. Both are called about twice a second.
        """
        finished = 0
        with progress(total=len(jobs) if total is None else total, desc=desc, unit=unit, disable=not jobs) as bar:

            def refresh() -> None:
                bar.set_postfix(postfix(), refresh=False)
                bar.update((count() if count else finished) - bar.n)

            for named_outcome in self.run(work, jobs, seconds, refresh):
                finished += 1
                yield named_outcome
                refresh()

    def _until_broken(
        self,
        work: Callable[..., Result],
        jobs: dict[str, Job],
        seconds: dict[str, float],
        on_tick: Callable[[], None],
        ahead: int | None,
    ) -> Iterator[tuple[str, Result | Exception]]:
        """As `run`, but end early if the pool breaks. Some jobs then have no outcome."""
        finished: queue.SimpleQueue[tuple[str, Future[Result]]] = queue.SimpleQueue()
        waiting, under_way = list(reversed(jobs.items())), 0

        def deliver(name: str, future: Future[Result]) -> None:
            finished.put((name, future))

        while waiting or under_way:
            while waiting and (ahead is None or under_way < ahead):
                name, job = waiting.pop()
                try:
                    scheduled = self.pool.schedule(work, args=job, timeout=seconds.get(name))
                except RuntimeError:  # pebble raises it when the pool broke meanwhile
                    return
                scheduled.add_done_callback(partial(deliver, name))
                under_way += 1
            on_tick()
            try:
                name, future = finished.get(timeout=0.5)
            except queue.Empty:
                continue
            under_way -= 1
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                return
            if error is None:
                yield name, future.result()
            elif isinstance(error, FAILURES):
                yield name, error
            else:
                raise error


def _start(initializer: Callable[..., None] | None, *arguments: object) -> None:
    """Initialise a worker with one thread: workers do not compete for cores, and their number changes no result."""
    cv2.setNumThreads(1)
    if initializer:
        initializer(*arguments)
