"""Checkpoints in the published format, and published starting weights (reference, section 4).

A checkpoint is one dict with step, arch, state_dict, best_loss and optimizer. It is written atomically, read with
`weights_only=True`, and loaded strictly.
"""

import errno
import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import CheckpointError
from common.files import atomic_file
from common.torch_files import load_dict
from training.run_folders import checkpoints


def prune_checkpoints(folder: Path, keep: int) -> None:
    """Remove all checkpoints but the newest `keep`; `ckpt_best.pth.tar` is a copy and stays."""
    for path in checkpoints(folder)[keep:]:
        path.unlink()


def save_checkpoint(path: Path, content: dict[str, Any], best: bool) -> None:
    """Write the dict, and a copy as `ckpt_best.pth.tar` beside it if it is the best so far.

    Older checkpoints are not touched. Raises OSError naming the file and its size if the disk has no room for it.
    """
    memory = io.BytesIO()  # torch's own writer does not say that a disk is full
    torch.save(content, memory)
    write_whole(path, memory.getbuffer())
    if best:
        write_whole(path.with_name("ckpt_best.pth.tar"), memory.getbuffer())


def write_whole(path: Path, content: memoryview) -> None:
    """Write a file atomically. Raises OSError naming the file and its size if the disk has no room for it."""
    try:
        with atomic_file(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = shutil.disk_usage(path.parent).free
        raise OSError(
            error.errno,
            f"disk full: {path} needs {len(content) / 1e6:.0f} MB and {free / 1e6:.0f} MB are free; the checkpoints "
            "before it stay. Make room or keep fewer (--keep), then recover",
        ) from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU.

    Raises CheckpointError if it is damaged or not a checkpoint, FileNotFoundError if it is missing.
    """
    content = load_dict(path)
    if "state_dict" not in content:
        raise CheckpointError(f"{path} has no state_dict: its keys are {list(content)[:5]}")
    return content


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """The weights in a file that is a state dict or contains one.

    Raises CheckpointError if the file is damaged or is neither, FileNotFoundError if it is missing.
    """
    content = load_dict(path)
    weights = content.get("state_dict", content)
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{path}: its state_dict is not a map of names to tensors")
    return weights


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str, fresh: str | None = None) -> None:
    """Load a state dict into `model`, strictly, whether or not its names have the published prefixes.

    These are DistributedDataParallel's `module.` and, for Xception, `model.`. `fresh` names a last layer whose weights
    may have another shape (another number of classes); the model then keeps its own, and a line says so.
    Raises CheckpointError listing every weight that is missing, unexpected or of another shape.
    """
    current = {bare_name(name): value for name, value in model.state_dict().items()}
    given = {bare_name(name): value for name, value in weights.items()}
    for name in (f"{bare_name(fresh)}.weight", f"{bare_name(fresh)}.bias") if fresh else ():
        if name in given and name in current and given[name].shape != current[name].shape:
            shapes = f"{tuple(given[name].shape)} does not fit {tuple(current[name].shape)}"
            print(f"{source}: {name} {shapes}, starts at random")
            given[name] = current[name]
    # Files from torch before 0.4.1 have no batch counters. A batch norm with a fixed momentum does not use them.
    given |= {name: current[name] for name in current if name.endswith("num_batches_tracked") and name not in given}
    problems = [f"missing {name}" for name in current if name not in given]
    problems += [f"unexpected {name}" for name in given if name not in current]
    problems += [
        f"{name} is {tuple(given[name].shape)}, not {tuple(current[name].shape)}"
        for name in current
        if name in given and given[name].shape != current[name].shape
    ]
    if problems:
        raise CheckpointError(f"{source} does not fit {type(model).__name__}: " + "; ".join(problems))
    model.load_state_dict({name: given[bare_name(name)] for name in model.state_dict()})


def bare_name(name: str) -> str:
    """A weight's name without the published prefixes."""
    return name.removeprefix("module.").removeprefix("model.")


def load_pretrained(model: nn.Module, path: Path, last_layer: str) -> None:
    """Start a network from a published file, whose last layer may have another number of classes.

    Names are as published. Only Xception's pointwise weights differ: Cadene stores them without their last two
    dimensions, of size 1. Raises CheckpointError listing what does not fit, FileNotFoundError if the file is missing.
    """
    weights = {name: to_convolution(name, value) for name, value in read_weights(path).items()}
    load_weights(model, weights, str(path), fresh=last_layer)


def to_convolution(name: str, value: Tensor) -> Tensor:
    """A pointwise weight [out, in] -> [out, in, 1, 1]; everything else as it is."""
    return value[:, :, None, None] if name.endswith("pointwise.weight") and value.ndim == 2 else value
