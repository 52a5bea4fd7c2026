"""The process group of a training. One process for now; Slurm and torchrun get their own issue and belong here."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import distributed


class World(NamedTuple):
    """This process's place: its rank, the number of processes, its device."""

    rank: int
    size: int
    device: torch.device


@contextmanager
def process_group(device: str, folder: Path | None = None) -> Iterator[World]:
    """Form the group by a file (in `folder`, else a temporary one), nccl on a GPU and gloo on the CPU; leave it at the end.

    The file is new for every start and removed at the end, so none can be stale.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="process_group_", dir=folder) as fresh:
        if device == "cpu":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        distributed.init_process_group(
            backend="nccl" if device == "cuda" else "gloo",
            init_method=(Path(fresh).resolve() / "init").as_uri(),
            rank=0,
            world_size=1,
        )
        try:
            yield World(rank=0, size=1, device=torch.device(device))
        finally:
            distributed.destroy_process_group()
