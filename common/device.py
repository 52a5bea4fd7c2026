"""`--device auto|cpu|cuda`, and how memory is kept on a CPU."""

import ctypes
from contextlib import suppress
from pathlib import Path

from common.errors import BadInputError

CHOICES = ("auto", "cpu", "cuda")
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # NVIDIA's driver, Windows' Linux, AMD's driver


def pick_device(choice: str) -> str:
    """`auto` is the GPU where there is one. Raises BadInputError when `cuda` is asked for and absent.

    PyTorch, seconds to import, is asked only where it might say yes.
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
    """Let this process keep memory that it frees instead of handing it back to the kernel, where the C library is
    glibc.

    By default every tensor of some megabytes is mapped anew, and its pages are zeroed again: on a CPU that is half the
    time of EfficientNet (benchmarks/networks.py).
    """
    with suppress(AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)
