"""The option `--device auto|cpu|cuda`, and whether a process on a CPU keeps the memory that it frees."""

import ctypes
from contextlib import suppress
from pathlib import Path

from common.errors import BadInputError

CHOICES = ("auto", "cpu", "cuda")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from glibc's malloc.h
GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # of NVIDIA's driver, Linux under Windows (WSL), AMD's driver


def pick_device(choice: str) -> str:
    """The device to use: `auto` means the GPU if there is one. Raises BadInputError for `cuda` without a GPU.

    PyTorch takes seconds to import. `auto` imports it only where a GPU driver's file exists.
    """
    if choice == "cpu" or (choice == "auto" and not any(Path(file).exists() for file in GPU_FILES)):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if choice == "cuda":
        raise BadInputError("--device cuda: torch sees no GPU here")
    return "cpu"


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, instead of returning it to the kernel; works with glibc only.

    By default glibc maps new memory for every tensor of some megabytes, and the kernel zeroes its pages again. On a CPU
    this takes half the time of EfficientNet (benchmarks/networks.py).
    """
    with suppress(AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)


def give_back_freed_memory() -> None:
    """Return the memory that this process has freed so far to the kernel; works with glibc only."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
