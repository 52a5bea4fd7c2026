"""The loaders of training and validation batches.

Loader processes are forked from a server without threads: a training has threads, and what forks while another thread
holds a lock may hang for ever.
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
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from common.stage import cores
from training.config import TrainingConfig
from training.sampler import TrainingSampler
from training.watch import TO_STOP, ignoring_requests_to_stop


class TrainingSet(Dataset[tuple[Tensor, int, list[str]]], ABC):
    """A data set by (position, index), of (image or clip, label, names of unreadable crops)."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, list[str]]: ...

    @abstractmethod
    def sample_name(self, index: int) -> str:
        """What a sample is called in messages."""


class ValidationSet(Dataset[tuple[Tensor, int] | None], ABC):
    """A data set of (image or clip, index), None for an unreadable one, that knows each index's video and label."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> tuple[Tensor, int] | None: ...

    @abstractmethod
    def video_and_label(self, index: int) -> tuple[str, int]:
        """The video and the label (1 FAKE) of a sample."""


def loader(
    data: TrainingSet | ValidationSet, order: Iterable[Any], config: TrainingConfig, device: torch.device
) -> DataLoader[Any]:
    """Batches of a training set in a TrainingSampler's order, or of a validation set without what was unreadable."""
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


def loader_processes(least: int) -> int:
    """The config's number, or all cores of this process but one where they are more; 0 stays 0.
    Samples do not depend on it.
    """
    mine = cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun's processes share what they were given
    return max(least, mine - 1) if least else 0


def start_loader_server(*modules: str) -> None:
    """Start the server, which imports these modules for all loader processes."""
    set_forkserver_preload(list(modules))
    with ignoring_requests_to_stop():  # Slurm signals every process; these two end with their training
        ensure_resource_tracker()
        ensure_running()
    atexit.register(kill_loaders)


def kill_loaders() -> None:
    """At the end of a training that failed: its loaders wait for their next task and do not hear SIGTERM."""
    for process in multiprocessing.active_children():
        process.kill()


def start_worker(number: int) -> None:
    """One thread for OpenCV, no ear for requests to stop, and the end when the training is killed."""
    cv2.setNumThreads(1)
    for request in TO_STOP:
        signal.signal(request, signal.SIG_IGN)
    threading.Thread(target=end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def end_with(training: multiprocessing.process.BaseProcess) -> None:
    """Wait for the end of the training's process, and end this one."""
    training.join()
    os._exit(1)


def collate_training(samples: list[tuple[Tensor, int, list[str]]]) -> tuple[Tensor, Tensor, list[str]]:
    """Images and labels as batches; the names of unreadable crops in one list."""
    images, labels = default_collate([sample[:2] for sample in samples])
    return images, labels, [name for *_, names in samples for name in names]


def collate_readable(samples: list[tuple[Tensor, int] | None]) -> list[Tensor]:
    """Stack the samples that are not None; no samples make a batch of none."""
    readable = [sample for sample in samples if sample is not None]
    return default_collate(readable) if readable else [torch.empty(0), torch.empty(0, dtype=torch.int64)]
