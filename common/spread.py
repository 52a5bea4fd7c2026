"""Evenly spread numbers, to look at some of many."""

import numpy as np


def spread(count: int, wanted: int) -> np.ndarray:
    """Up to `wanted` of the numbers 0 to `count` - 1, evenly spread, in ascending order."""
    return np.unique(np.linspace(0, count - 1, wanted).astype(int))
