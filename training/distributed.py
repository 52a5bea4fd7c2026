"""The process group of a training: one process, the processes of a Slurm step, or those of torchrun.

Slurm's processes meet at a file in the distributed directory. Its name contains the numbers of the job, the step and
the restart, and srun's port, so no start finds the file of another one. Rank 0 removes the file at the end. At the
start it removes the files of jobs that Slurm no longer knows.
"""

import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from torch import distributed, nn
from torch.distributed import FileStore  # type: ignore[attr-defined]  # torch exports it without saying so

from common.errors import BadInputError

Value = TypeVar("Value")
POLL = 0.1  # seconds between two looks for ranks at the meeting
PATIENCE = 60  # seconds beyond the stall timeout that the group waits for a rank, so that the watchdog reports first


class Place(NamedTuple):
    """This process among those that were started together.

    `meeting` is the name of the file where Slurm's processes meet; None under torchrun or for a single process.
    """

    rank: int
    size: int
    local_rank: int
    meeting: str | None
    torchrun: bool


class World(NamedTuple):
    """This process's rank, the number of processes, and its device.

    With `bf16` networks run in bfloat16 where that is safe. `control` is a gloo group for decisions on the CPU, so that
    they do not wait for a GPU; None means the default group.
    """

    rank: int
    size: int
    device: torch.device
    bf16: bool = False
    control: distributed.ProcessGroup | None = None

    def reference_ranks(self, reference: int) -> range:
        """The ranks of the reference's processes that this one stands in for, one after another.

        Raises BadInputError unless the number of processes divides the reference's.
        """
        if reference % self.size:
            allowed = [size for size in range(1, reference + 1) if reference % size == 0]
            raise BadInputError(
                f"{self.size} processes cannot stand in for the reference's {reference}: use one of {allowed}"
            )
        count = reference // self.size
        return range(self.rank * count, (self.rank + 1) * count)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.size == 1:
            return flag
        flags = torch.tensor([float(flag)])
        distributed.all_reduce(flags, distributed.ReduceOp.MAX, group=self.control)
        return bool(flags.item())

    def broadcast_buffers(self, model: nn.Module) -> None:
        """Give every process rank 0's buffers (batch-norm statistics): the other ranks lack those of the last step."""
        for buffer in model.buffers() if self.size > 1 else ():
            distributed.broadcast(buffer, src=0)

    def gather(self, value: Value) -> list[Value]:
        """Every process's value, in the order of the ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        distributed.all_gather_object(values, value, group=self.control)
        return values

    def all_or_none(self, work: Callable[[], Value]) -> Value:
        """Return what `work` returns here if it succeeds in every process; if not, raise an error in all of them.

        So all processes leave together, with the exit status of that error. If one left earlier, Slurm would kill the
        others, and the job would have the status of a killed process. Raises BadInputError or OSError.
        """
        problem: Exception | None = None
        try:
            value = work()
        except (BadInputError, OSError) as error:
            problem = error
        messages = [text for text in self.gather(None if problem is None else str(problem)) if text is not None]
        if problem is not None:
            raise problem
        if messages:
            raise BadInputError(f"in another process: {messages[0]}")
        return value

    def from_rank0(self, work: Callable[[], Value]) -> Value:
        """Run `work` in rank 0 only; return its result in every process. Raises as `all_or_none` does."""
        here: Callable[[], Any] = work if self.rank == 0 else lambda: None
        value: Value = self.gather(self.all_or_none(here))[0]
        return value


def place(environment: Mapping[str, str] = os.environ) -> Place:
    """The place that torchrun or srun assigned. A process that neither started is alone, in a batch script too."""
    if "TORCHELASTIC_RUN_ID" in environment:
        rank, size, local = (int(environment[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        return Place(rank, size, local, None, torchrun=True)
    if "SLURM_STEP_NUM_TASKS" in environment and "SLURM_PROCID" in environment:
        rank, size, local = (int(environment[f"SLURM_{name}"]) for name in ("PROCID", "STEP_NUM_TASKS", "LOCALID"))
        parts = ("JOB_ID", "STEP_ID", "RESTART_COUNT", "SRUN_COMM_PORT")
        return Place(
            rank, size, local, "-".join(["group", *(environment.get(f"SLURM_{part}", "0") for part in parts)]), False
        )
    return Place(0, 1, 0, None, torchrun=False)


@contextmanager
def process_group(
    device: str, folder: Path | None = None, patience: float = 600, bf16: bool = False
) -> Iterator[World]:
    """Form the group, with nccl on GPUs and gloo on CPUs; leave it at the end.

    If a process does not join a common operation within `patience` seconds (and PATIENCE more), the others raise an
    error. Raises RendezvousError if a rank does not come to the meeting within nine tenths of `patience`, before the
    watchdog would end this process. Raises BadInputError if `folder` is needed and not given, or if it is missing, not
    absolute or not writable.
    """
    here = place()
    with tempfile.TemporaryDirectory(prefix="process_group_") as alone:
        meeting = meeting_file(here, folder, Path(alone))
        if meeting and str(meeting) != os.fsencode(meeting).decode("utf-8", "replace"):
            raise BadInputError(f"{os.fsencode(meeting)!r}: torch cannot meet in a folder whose name is not UTF-8")
        timeout = timedelta(seconds=patience + PATIENCE)
        # A path, not a URL: torch does not decode what a URL encodes, such as a space.
        store: Any = FileStore(str(meeting), here.size) if meeting else None
        if store is not None and here.size > 1:
            meet(store, here, 0.9 * patience)
        if device == "cuda":
            torch.cuda.set_device(here.local_rank % torch.cuda.device_count())
        distributed.init_process_group(
            backend="nccl" if device == "cuda" else "gloo",
            store=store,
            rank=here.rank,
            world_size=here.size,
            timeout=timeout,
        )
        done = False
        try:
            beside = device == "cuda" and here.size > 1
            control: Any = distributed.new_group(backend="gloo", timeout=timeout) if beside else None
            chosen = torch.device(device, torch.cuda.current_device()) if device == "cuda" else torch.device(device)
            yield World(here.rank, here.size, chosen, bf16, control)
            done = True
        finally:
            if done or here.size == 1:  # after an error this might wait for the others forever
                distributed.destroy_process_group()
            if here.rank == 0 and meeting:
                meeting.unlink(missing_ok=True)


class RendezvousError(RuntimeError):
    """Some ranks did not come to the meeting in time; the message names them."""


def meet(store: Any, here: Place, patience: float) -> None:  # noqa: ANN401  # torch's stores have no common public type
    """Wait until every rank has come. Raises RendezvousError naming those that have not within `patience` seconds."""
    store.set(f"came/{here.rank}", socket.gethostname())
    missing, began = list(range(here.size)), time.monotonic()
    while missing := [rank for rank in missing if not store.check([f"came/{rank}"])]:
        if time.monotonic() - began > patience:
            raise RendezvousError(
                f"rank {here.rank} of {here.size} waited {patience:.0f} s at the meeting: rank"
                f"{'s' * (len(missing) > 1)} {', '.join(map(str, missing))} never came. Do all nodes share the "
                "distributed directory?"
            )
        time.sleep(POLL)


def meeting_file(here: Place, folder: Path | None, alone: Path) -> Path | None:
    """The file where the processes meet; None under torchrun, which gives an address.

    Raises BadInputError as `usable` does.
    """
    if here.size == 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    if here.torchrun:
        return None
    if here.size == 1 or here.meeting is None:
        return alone / "init"
    meeting = usable(folder) / here.meeting
    if here.rank == 0:
        remove_leftovers(meeting.parent)
    return meeting


def usable(folder: Path | None) -> Path:
    """The distributed directory. Raises BadInputError saying what is wrong with it."""
    if folder is None:
        raise BadInputError("several processes need --distributed-path: a directory that all their nodes share")
    if not folder.is_absolute():
        raise BadInputError(f"--distributed-path {folder} must be absolute: torch waits for minutes at a relative path")
    if not folder.is_dir():
        raise BadInputError(f"--distributed-path {folder} is not a directory")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BadInputError(f"--distributed-path {folder} is not writable")
    return folder


def remove_leftovers(folder: Path) -> None:
    """Remove this user's meeting files of jobs that Slurm no longer knows; if squeue does not answer, remove none."""
    # List the files before asking squeue: a job may begin between the two.
    old = [path for path in folder.glob("group-*") if path.stat().st_uid == os.getuid()]
    try:
        answer = subprocess.run(
            ["squeue", "--noheader", "--format=%A"], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return
    for path in old:
        match = re.fullmatch(r"group-(\d+)-[\d-]+", path.name)
        if match and match[1] not in answer.stdout.split():
            path.unlink(missing_ok=True)
