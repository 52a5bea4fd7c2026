"""Data sets and the loaders of their batches.

Loader processes are forked from a server process without threads. The training itself has threads, and a process that
is forked while another thread holds a lock may hang forever.
"""

import atexit
import multiprocessing
import os
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable
from multiprocessing.forkserver import ensure_running, set_forkserver_preload
from multiprocessing.resource_tracker import ensure_running as ensure_resource_tracker
from typing import Any, Literal

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from common.command import cores
from training.config import TrainingConfig
from training.face_tracks import FaceTracks
from training.sampler import Part, TrainingSampler
from training.watch import TO_STOP, ignoring_requests_to_stop


class TrainingSet(Dataset[tuple[Tensor, int, list[str]]], ABC):
    """Training samples by (position, index): image or clip, label (1 FAKE), and the names of unreadable crops.

    Images are RGB uint8 [H, W, 3], clips [T, H, W, 3]. The position in the training order decides about augmentation.
    """

    @property
    @abstractmethod
    def parts(self) -> list[Part]:
        """For each list, in order: its number of samples, and its share of the samples that are drawn."""

    def __len__(self) -> int:
        return sum(samples for samples, _ in self.parts)

    @abstractmethod
    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, list[str]]: ...

    @abstractmethod
    def sample_name(self, index: int) -> str:
        """A sample's name for messages."""

    @property
    @abstractmethod
    def labels(self) -> set[int]:
        """The labels that occur (1 FAKE)."""


class ValidationSet(Dataset[tuple[Tensor, int] | None], ABC):
    """Validation samples by index: image or clip, and the index; None for an unreadable sample.

    Images are RGB uint8 [H, W, 3], clips [T, H, W, 3]. The samples come from `tracks`.
    """

    tracks: FaceTracks

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> tuple[Tensor, int] | None: ...

    @abstractmethod
    def video_and_label(self, index: int) -> tuple[str, int]:
        """A sample's video, `<part>/<video>`, and its label (1 FAKE)."""


def loader(
    data: TrainingSet | ValidationSet, order: Iterable[Any], config: TrainingConfig, device: torch.device
) -> DataLoader[Any]:
    """Batches of a training set in a TrainingSampler's order, or of a validation set without its unreadable samples.

    What they hold: see `collate_training` and `collate_readable`.
    """
    workers = loader_processes(config.workers)
    return DataLoader(
        data,
        batch_size=config.batch_size,
        sampler=order,
        collate_fn=collate_training if isinstance(order, TrainingSampler) else collate_readable,
        num_workers=workers,
        multiprocessing_context="forkserver" if workers else None,
        worker_init_fn=start_worker if workers else None,
        pin_memory=device.type == "cuda",
    )


def loader_processes(workers: int | Literal["auto"]) -> int:
    """How many loader processes to run: `workers`, but at most one less than this process has cores, and at least 1.

    `auto` runs as many as that allows; 0 stays 0. The samples do not depend on this number.
    """
    share = cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun's processes share the cores
    free = max(share - 1, 1)
    return free if workers == "auto" else min(workers, free)


def start_loader_server(*modules: str) -> None:
    """Start the server that forks the loader processes. It imports these modules once for all of them.

    The module that Python runs as a program must not be among them: every loader process would warn of that.
    """
    set_forkserver_preload(list(modules))
    with ignoring_requests_to_stop():  # Slurm signals every process, but these two end with their training
        ensure_resource_tracker()
        ensure_running()
    atexit.register(kill_loaders)


def kill_loaders() -> None:
    """Kill the loader processes. After a failed training they would wait for their next task, and ignore SIGTERM."""
    for process in multiprocessing.active_children():
        process.kill()


def start_worker(number: int) -> None:
    """Set up a loader process: one thread for OpenCV, requests to stop ignored, its end tied to the training's."""
    cv2.setNumThreads(1)
    for request in TO_STOP:
        signal.signal(request, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def end_with(training: multiprocessing.process.BaseProcess) -> None:
    """Wait until the training's process ends, then end this one."""
    training.join()
    os._exit(1)


def collate_training(samples: list[tuple[Tensor, int, list[str]]]) -> tuple[Tensor, Tensor, list[str]]:
    """Images uint8 [B, ...], labels int64 [B], and the names of all unreadable crops."""
    images, labels = default_collate([sample[:2] for sample in samples])
    return images, labels, [name for *_, names in samples for name in names]


def collate_readable(samples: list[tuple[Tensor, int] | None]) -> list[Tensor]:
    """Images uint8 [B, ...] and indices int64 [B] of the samples that are not None; both empty if there are none."""
    readable = [sample for sample in samples if sample is not None]
    return default_collate(readable) if readable else [torch.empty(0), torch.empty(0, dtype=torch.int64)]
