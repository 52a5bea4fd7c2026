"""Read files that torch.save wrote, without running any code in them."""

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.errors import CheckpointError

# Checkpoints may hold numbers of numpy, such as best_loss. These are the types in their pickles, as numpy 1 and 2 name
# them. They are data, not code, so torch.load may read them.
_SCALAR = np.float64(0).__reduce__()[0]
NUMPY_SCALAR: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(name)) for name in ("float64", "float32", "int64")),
]
# What torch.load raises for a damaged file, depending on the damage.
DAMAGED = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    struct.error,
    pickle.UnpicklingError,
)


def load_dict(path: Path) -> dict[str, Any]:
    """Read the dict in a file that torch.save wrote, with `weights_only=True` and its tensors on the CPU.

    Raises FileNotFoundError if the file is missing, CheckpointError if it is damaged or does not hold a dict.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        with torch.serialization.safe_globals(NUMPY_SCALAR):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED as error:
        raise CheckpointError(f"{path} is not a readable checkpoint: {error}") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a dict")
    return dict(content)
