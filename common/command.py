"""What commands share: exit status, signals, the number of cores, and options that mean the same in all of them.

It imports nothing slow, so that every --help is fast.
"""

import argparse
import atexit
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from common.errors import BadInputError

DEVICES = ("auto", "cpu", "cuda")
GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # NVIDIA's driver, Linux under Windows (WSL), AMD's driver
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # how people and schedulers end a command

CGROUPS, PROCESS = Path("/sys/fs/cgroup"), Path("/proc/self")

Value = TypeVar("Value")


class PrintVersion(argparse.Action):
    """An argparse action: print the version of this software and end."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from common.version import NAME, software  # asks git

        print(f"{NAME} {software()}")
        parser.exit()


def command_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose --help shows a module's docstring as it is; with --version, as every command has it."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action=PrintVersion, nargs=0, help="show version and commit, and exit")
    return parser


def positive(text: str) -> int:
    """An argparse type: a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def cores() -> int:
    """The number of cores that this process may use, by its affinity, its container's quota and its Slurm task.

    Slurm may not bind tasks to cores, so SLURM_CPUS_PER_TASK counts too.
    """
    allowed = len(os.sched_getaffinity(0))
    return max(min(allowed, int(os.environ.get("SLURM_CPUS_PER_TASK", allowed)), quota(CGROUPS) or allowed), 1)


def quota(root: Path) -> int | None:
    """The cores that the control groups of this process allow, rounded up; None if they set no limit.

    `root` is where version 2 is mounted. A group's `cpu.max` holds the microseconds of work that it may do (or `max`)
    per period, and the period. The limits of the groups above it hold too. Version 1 has the same in two files.
    """
    table = PROCESS / "cgroup"
    lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
    names = [line.split(":", 2)[2].strip("/") for line in lines]
    groups = {Path(*Path(name).parts[:depth]) for name in names for depth in range(len(Path(name).parts) + 1)}
    limits = []
    for folder in (top / group for top in (root, root / "cpu") for group in groups):
        for files in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
            if all((folder / file).is_file() for file in files):
                work, period = " ".join((folder / file).read_text(encoding="utf-8") for file in files).split()
                limits.append(-1 if work == "max" else -(-int(work) // int(period)))
    return min((limit for limit in limits if limit > 0), default=None)


def add_detector_weights(parser: argparse.ArgumentParser) -> None:
    """Add --detector-weights, and its old name --weights, which --help does not show."""
    text = "weights of the face detector (default: those in inference/face_detect_ckpt)"
    parser.add_argument("--detector-weights", type=Path, metavar="FILE", help=text)
    hidden = argparse.SUPPRESS
    parser.add_argument("--weights", type=Path, dest="detector_weights", default=hidden, help=hidden)


def run_script(main: Callable[[], int]) -> NoReturn:
    """Call a script's `main` and end the process with its status.

    SIGTERM (scancel, preemption, `kill`) ends it and its workers as Ctrl-C does, with status 143. Usage and errors
    name a package (`python -m forensics.serve`), not its __main__.py.
    """
    command = Path(sys.argv[0])
    if command.name == "__main__.py":
        sys.argv[0] = str(command.parent)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    end(status_of(main))


@contextmanager
def delay_signals() -> Iterator[None]:
    """Hold back the signals of STOPS until the block ends, for code that an exception in the middle would break."""
    if threading.current_thread() is not threading.main_thread():  # signals act in the main thread only
        yield
        return
    arrivals: list[int] = []
    before = {number: handler for number in STOPS if (handler := signal.getsignal(number)) is not None}
    for number in before:
        signal.signal(number, lambda number, _: arrivals.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for arrival in arrivals:
            signal.raise_signal(arrival)


def status_of(main: Callable[[], int]) -> int:
    """The exit status of `main`: what it returns, or the status of what it raises.

    A missing or wrong input gives status 2 and a line on stderr.
    """
    try:
        return main()
    except BrokenPipeError:  # the reader of the output has left, as `head` does
        return 141
    except (BadInputError, OSError) as error:
        print(f"{Path(sys.argv[0]).name}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; finished work is kept, and running it again goes on", file=sys.stderr)
        return 130
    except SystemExit as stop:  # from argparse or from SIGTERM
        if isinstance(stop.code, str):  # a message, as sys.exit takes it
            print(stop.code, file=sys.stderr)
            return 1
        return stop.code or 0


def end(status: int) -> NoReturn:
    """End the process as `sys.exit` does, but without cleaning up its modules, which takes a second with torch."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError):  # see `status_of`
            stream.flush()
    os._exit(status)


def pick_device(choice: str) -> str:
    """The device to use, `cpu` or `cuda`: `auto` means the GPU if there is one.

    Raises BadInputError for `cuda` without a GPU. PyTorch takes seconds to import, so `auto` imports it only if a GPU
    driver's file exists.
    """
    if choice == "cpu" or (choice == "auto" and not any(Path(file).exists() for file in GPU_FILES)):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if choice == "cuda":
        raise BadInputError("--device cuda: torch sees no GPU here")
    return "cpu"


@dataclass(frozen=True)
class Shard:
    """Shard number `index`, counted from 0, of `count` shards."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, videos: dict[str, Value]) -> dict[str, Value]:
        """Every `count`-th video by name, from `index` on. The choice does not depend on what is done already."""
        return {name: videos[name] for name in sorted(videos)[self.index :: self.count]}


def parse_shard(text: str) -> Shard:
    """An argparse type: `0/3`, `1/3` and `2/3` are the shards of three."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or int(match[1]) >= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not i/n with 0 <= i < n")
    return Shard(int(match[1]), int(match[2]))


def wanted_shard(option: Shard | None) -> Shard | None:
    """The shard of `--shard`, else that of this task of a Slurm job array, else None for all videos.

    Raises BadInputError for an array with gaps, because some shards would never run.
    """
    if option or "SLURM_ARRAY_TASK_ID" not in os.environ:
        return option
    task, first, count, step = (int(os.environ[f"SLURM_ARRAY_TASK_{name}"]) for name in ("ID", "MIN", "COUNT", "STEP"))
    last = int(os.environ["SLURM_ARRAY_TASK_MAX"])
    if (last - first) // step + 1 != count:
        raise BadInputError(f"a job array of {count} tasks from {first} to {last} has gaps: say --shard i/n instead")
    return Shard((task - first) // step, count)
