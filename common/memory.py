"""Keep freed memory in the process, which makes networks on a CPU faster."""

import ctypes
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from glibc's malloc.h


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees instead of returning it to the kernel. Works with glibc only.

    By default glibc maps new memory for every tensor of some megabytes, and the kernel zeroes its pages each time. On a
    CPU this takes half the time of EfficientNet (benchmarks/networks.py).
    """
    with suppress(AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, -1)
