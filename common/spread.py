"""Choose some of many, evenly spread."""

import numpy as np


def spread(count: int, wanted: int) -> np.ndarray:
    """Up to `wanted` of the numbers 0 to `count` - 1, evenly spread: int64 [N], ascending, both ends included."""
    return np.unique(np.linspace(0, count - 1, wanted).astype(int))
