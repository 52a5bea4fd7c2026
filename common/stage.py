"""What the stage scripts share: their common options, workers, one progress bar, the summary line, the exit status."""

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import as_completed
from pathlib import Path

import cv2
from pebble import ProcessExpired, ProcessPool
from tqdm import tqdm

from common.atomic import write_text
from common.errors import BadInputError

Job = tuple  # the picklable arguments of a stage's work function


def cores() -> int:
    """The number of cores this process may use."""
    return len(os.sched_getaffinity(0))


def folder_parser(description: str | None, **folders: str) -> argparse.ArgumentParser:
    """A parser with one option per folder (`frames="DIR"` makes `--frames`, by default DIR)."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in folders.items():
        parser.add_argument(f"--{name}", type=Path, default=Path(default), metavar="DIR", help=f"default: {default}")
    return parser


def stage_parser(description: str | None, **folders: str) -> argparse.ArgumentParser:
    """`folder_parser` with `--workers`."""
    parser = folder_parser(description, **folders)
    parser.add_argument("--workers", type=positive, default=cores(), metavar="N", help="processes (default: all cores)")
    return parser


def positive(text: str) -> int:
    """An argparse type: a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def run_stage(stage: str, work: Callable[..., int], jobs: dict[str, Job], output: Path, done: str, workers: int) -> int:
    """Run `work(*job)` for every job that is not done, in `workers` processes, and return the exit status.

    `jobs` maps `<part>/<video>` to the arguments of `work`, which returns the number of frames it wrote. A job is done when
    `output/<part>/<video>/<done>` exists. A job that raises BadInputError, OSError or cv2.error, or whose process dies, fails
    alone: its reason is printed and recorded in `output/failed.json`, which holds the failures of the latest run only.
    """
    todo = {name: job for name, job in jobs.items() if not (output / name / done).exists()}
    frames, failed = _run_jobs(stage, work, todo, workers) if todo else (0, {})
    record_failures(output, failed)
    counts = f"{len(todo) - len(failed)} done, {len(jobs) - len(todo)} skipped, {len(failed)} failed"
    print(f"{stage}: {counts}; {frames} frames; {output}")
    return 1 if failed else 0


def _run_jobs(stage: str, work: Callable[..., int], todo: dict[str, Job], workers: int) -> tuple[int, dict[str, str]]:
    """Run all jobs in worker processes; return the number of frames and the reasons of those that failed."""
    failed: dict[str, str] = {}
    frames = 0
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPool(min(workers, len(todo)), initializer=_one_thread, context=context) as pool,
        tqdm(total=len(todo), desc=stage, unit="video") as bar,
    ):
        futures = {pool.schedule(work, args=job): name for name, job in todo.items()}
        try:
            for future in as_completed(futures):
                name = futures[future]
                try:
                    frames += future.result()
                except (BadInputError, OSError, cv2.error, ProcessExpired) as error:
                    failed[name] = str(error) or type(error).__name__
                    bar.write(f"{stage}: {name}: {failed[name]}", file=sys.stderr)
                bar.update()
                bar.set_postfix(frames=frames, refresh=False)
        except BaseException:
            pool.stop()
            raise
    return frames, failed


def record_failures(output: Path, failed: dict[str, str]) -> None:
    """Write `output/failed.json` (name to reason), or remove it when nothing failed."""
    if failed:
        write_text(output / "failed.json", json.dumps(dict(sorted(failed.items())), indent=1, ensure_ascii=False) + "\n")
    else:
        (output / "failed.json").unlink(missing_ok=True)


def run_script(main: Callable[[], int]) -> None:
    """Call a script's `main`, end with its status; a missing or unusable input is one line on stderr and status 2."""
    try:
        sys.exit(main())
    except (BadInputError, FileNotFoundError, FileExistsError) as error:
        print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; what is finished stays, and running it again goes on", file=sys.stderr)
        sys.exit(130)


def _one_thread() -> None:
    """One thread per worker, so that workers do not fight for cores and results do not depend on their number."""
    cv2.setNumThreads(1)
