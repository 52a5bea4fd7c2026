"""`--evaluate`: validate a run's checkpoints again, or on other lists (`--set val_lists={...}`).

Any number of processes will do. It writes ckpt_iter_N_<set>.csv per checkpoint and set, and evaluation.csv with a line
for each of these: step, set, the four log losses.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from common.errors import BadInputError, CheckpointError
from common.files import write_table
from training.checkpoint import load_weights, read_checkpoint
from training.config import TrainingConfig
from training.distributed import World
from training.loading import ValidationSet
from training.runs import checkpoints, step_of
from training.validation import validate

METRICS = ("video_logloss", "video_logloss_REAL", "video_logloss_FAKE", "video_logloss_balanced")


def evaluate(
    folder: Path,
    steps: range,
    network: nn.Module,
    sets: Mapping[str, ValidationSet],
    config: TrainingConfig,
    world: World,
    beat: Callable[[], None],
) -> int:
    """Validate every checkpoint of `folder` whose step is in `steps`, in order; return 1 if one is damaged, else 0.

    Raises BadInputError if there is no such checkpoint, or no validation list.
    """
    chosen = world.from_rank0(lambda: [path for path in reversed(checkpoints(folder)) if step_of(path) in steps])
    if not chosen or not sets:
        raise BadInputError(
            f"{folder} has no checkpoint in that range" if sets else "the config names no validation list"
        )
    rows, damaged = [], 0
    for path in chosen:
        damage = load(network, path)
        if world.any(damage is not None):  # all ranks or none: one rank's disk may fail
            damaged += 1
            say(world, str(damage or f"{path} is damaged, another rank says"))
            continue
        for name, data in sets.items():
            validation = validate(network, data, config, world, beat)
            rows.append((step_of(path), name, *(f"{validation.losses[metric]:.6f}" for metric in METRICS)))
            if world.rank == 0:
                validation.write(folder / f"ckpt_iter_{step_of(path)}_{name}.csv")
            for line in validation.lines(f"{name}, step {step_of(path)}"):
                say(world, line)
    if world.rank == 0:
        write_table(folder / "evaluation.csv", [("step", "set", *METRICS), *rows])
    say(world, f"evaluated {len(chosen) - damaged} checkpoints, {damaged} damaged; {folder / 'evaluation.csv'}")
    return 1 if damaged else 0


def load(network: nn.Module, path: Path) -> CheckpointError | None:
    """Load a checkpoint's weights; return what is wrong with it, or None."""
    try:
        load_weights(network, read_checkpoint(path)["state_dict"], str(path))
    except CheckpointError as error:
        return error
    return None


def say(world: World, text: str) -> None:
    """Print on rank 0."""
    if world.rank == 0:
        print(text, flush=True)
