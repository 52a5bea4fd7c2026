"""Checkpoints in the published format (contract, section 4): one dict with step, arch, state_dict, best_loss, optimizer.

Written atomically, read with `weights_only=True`, loaded strictly.
"""

import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.atomic import atomic_file
from common.errors import BadInputError


class CheckpointError(BadInputError):
    """A checkpoint is no checkpoint, or does not fit the network; the message lists every entry that does not."""


def checkpoint_path(folder: Path, step: int) -> Path:
    """`ckpt_iter_N.pth.tar` in a run's folder."""
    return folder / f"ckpt_iter_{step}.pth.tar"


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the highest step in a run's folder; None if it has none."""
    found = {int(re.findall(r"\d+", path.name)[0]): path for path in folder.glob("ckpt_iter_*.pth.tar")}
    return found[max(found)] if found else None


def save_checkpoint(path: Path, content: dict[str, Any], best: bool) -> None:
    """Write the dict, and a copy as `ckpt_best.pth.tar` beside it if it is the best so far."""
    with atomic_file(path) as temporary:
        torch.save(content, temporary)
    if best:
        with atomic_file(path.with_name("ckpt_best.pth.tar")) as temporary:
            shutil.copyfile(path, temporary)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU. Raises CheckpointError if it is not one, FileNotFoundError if it is absent."""
    content = _read(path)
    if "state_dict" not in content:
        raise CheckpointError(f"{path} has no state_dict: its keys are {list(content)[:5]}")
    return content


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is not a readable checkpoint: {error}") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a dict")
    return dict(content)


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """The weights of a file that is a state dict itself or a dict with one. Raises CheckpointError, FileNotFoundError."""
    content = _read(path)
    return content.get("state_dict", content)


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str, fresh: str | None = None) -> None:
    """Load a state dict into `model`, strictly, whether or not its names carry DistributedDataParallel's `module.`.

    `fresh` is the name of a last layer whose weights may differ in shape (another number of classes) and then stay as they are.
    Raises CheckpointError listing everything that is missing, unexpected or misshapen.
    """
    given = {name.removeprefix("module."): value for name, value in weights.items()}
    own = model.state_dict()
    if fresh:
        for name in (f"{fresh}.weight", f"{fresh}.bias"):
            if name in given and name in own and given[name].shape != own[name].shape:
                print(f"{source}: {name} {tuple(given[name].shape)} does not fit {tuple(own[name].shape)}, starts at random")
                given[name] = own[name]
    # Files of torch before 0.4.1 have no batch counters; nothing reads them where momentum is set.
    given |= {name: own[name] for name in own if name.endswith("num_batches_tracked") and name not in given}
    problems = [f"missing {name}" for name in own if name not in given]
    problems += [f"unexpected {name}" for name in given if name not in own]
    problems += [
        f"{name} is {tuple(given[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in given and given[name].shape != own[name].shape
    ]
    if problems:
        raise CheckpointError(f"{source} does not fit {type(model).__name__}: " + "; ".join(problems))
    model.load_state_dict(given)
