"""What the stage scripts share: common options, the progress bar, the record of failures, the summary line."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from common.command import command_parser, cores, positive
from common.files import write_text
from common.workers import Job, Workers


def folder_parser(description: str | None, **folders: str) -> argparse.ArgumentParser:
    """A parser with one option per folder: `frames="DIR"` adds `--frames` with the default DIR."""
    parser = command_parser(description)
    for name, default in folders.items():
        parser.add_argument(f"--{name}", type=Path, default=Path(default), metavar="DIR", help=f"default: {default}")
    return parser


def stage_parser(description: str | None, **folders: str) -> argparse.ArgumentParser:
    """`folder_parser` with `--workers`."""
    parser = folder_parser(description, **folders)
    parser.add_argument("--workers", type=positive, default=cores(), metavar="N", help="processes (default: all cores)")
    return parser


def run_stage(
    stage: str, work: Callable[..., int], jobs: dict[str, Job], output: Path, done: str, workers: int, note: str = ""
) -> int:
    """Run `work(*job)` for every job that is not done, in `workers` processes; return the exit status.

    `jobs` maps `<part>/<video>` to the arguments of `work`, which returns the number of frames it wrote. A job is done
    if `output/<part>/<video>/<done>` exists. If a job fails (`common.workers.FAILURES`), the others go on; the reason
    is printed and recorded in `output/failed.json`, which holds the failures of the latest run only. `note` ends the
    summary line.
    """
    todo = {name: job for name, job in jobs.items() if not (output / name / done).exists()}
    failed: dict[str, str] = {}
    frames = 0

    def written() -> dict[str, int]:
        return {"frames": frames}

    with Workers(min(workers, len(todo))) as pool:
        for name, outcome in pool.run_with_bar(work, todo, stage, postfix=written):
            if isinstance(outcome, Exception):
                failed[name] = str(outcome) or type(outcome).__name__
                tqdm.write(f"{stage}: {name}: {failed[name]}", file=sys.stderr)
            else:
                frames += outcome
    record_failures(output, failed)
    counts = f"{len(todo) - len(failed)} done, {len(jobs) - len(todo)} skipped, {len(failed)} failed"
    print(f"{stage}: {counts}; {frames} frames; {output}{note}")
    return 1 if failed else 0


def record_failures(output: Path, failed: dict[str, str]) -> None:
    """Write `output/failed.json` (name to reason), or remove it if nothing failed."""
    if failed:
        text = json.dumps(dict(sorted(failed.items())), indent=1, ensure_ascii=False)
        write_text(output / "failed.json", text + "\n")
    else:
        (output / "failed.json").unlink(missing_ok=True)
