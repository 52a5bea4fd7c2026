"""Measurements: `python -m benchmarks.NAME`. Each docstring says how far the code is from the floor, the least cost."""

import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
