"""Files that torch.save wrote, read without running anything in them."""

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.errors import BadInputError

# What a number such as best_loss is pickled as when it came from numpy, by the names of numpy 1 and 2: data, not code.
_SCALAR = np.float64(0).__reduce__()[0]
NUMPY_SCALAR: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(name)) for name in ("float64", "float32", "int64")),
]
# All of these come out of torch.load for one damaged file or another.
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


class CheckpointError(BadInputError):
    """A weights file is none, or does not fit the network; the message names the file and what does not fit."""


def load_dict(path: Path) -> dict[str, Any]:
    """The dict in a file of torch.save, tensors on the CPU, with `weights_only=True`. Raises
    CheckpointError, FileNotFoundError.
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
