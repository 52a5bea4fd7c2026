"""`--evaluate`: validate a run's checkpoints again, or on other lists (`--set val_lists={...}`).

Any number of processes will do. It writes ckpt_iter_N_<set>.csv for each checkpoint and set, and evaluation.csv with a
row for each of these: step, set, the four log losses, and the AUC, which is empty if a set lacks a label.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from common.errors import BadInputError, CheckpointError
from common.files import write_table
from training.checkpoint import load_weights, read_checkpoint
from training.config import Config
from training.loading import ValidationSet
from training.run_folders import checkpoints, step_of
from training.session import Session, on_device
from training.validation import table_path, validate

METRICS = (
    *("video_logloss", "video_logloss_REAL", "video_logloss_FAKE", "video_logloss_balanced"),
    "video_auc",
)


def evaluate(session: Session[Config], network: nn.Module, validation_sets: Mapping[str, ValidationSet]) -> int:
    """Validate the run's checkpoints of the steps that --evaluate names, in order; return 1 if one is damaged, else 0.

    Raises BadInputError if there is no such checkpoint, or no validation list.
    """
    world, folder, steps = session.world, session.run.folder, session.options.evaluate
    chosen = world.from_rank0(lambda: [path for path in reversed(checkpoints(folder)) if step_of(path) in steps])
    if not validation_sets:
        raise BadInputError("the config names no validation list")
    if not chosen:
        raise BadInputError(f"{folder} has no checkpoint in that range")

    def log(text: str) -> None:
        if world.rank == 0:
            print(text, flush=True)

    network = on_device(network, session)
    rows, damaged = [], 0
    for path in chosen:
        damage = load(network, path)
        if world.any(damage is not None):  # all ranks or none: one rank's disk may fail
            damaged += 1
            log(str(damage or f"{path} is damaged, another rank says"))
            continue
        step = step_of(path)
        for name, data in validation_sets.items():
            validation = validate(network, data, session.config, world, session.watchdog.beat)
            measures = validation.measures
            cells = [f"{measures[metric]:.6f}" if metric in measures else "" for metric in METRICS]
            rows.append((step, name, *cells))
            if world.rank == 0:
                validation.write(table_path(folder, step, name))
            for line in validation.lines(f"{name}, step {step}"):
                log(line)
    if world.rank == 0:
        write_table(folder / "evaluation.csv", [("step", "set", *METRICS), *rows])
    log(f"evaluated {len(chosen) - damaged} checkpoints, {damaged} damaged; {folder / 'evaluation.csv'}")
    return 1 if damaged else 0


def load(network: nn.Module, path: Path) -> CheckpointError | None:
    """Load a checkpoint's weights; return what is wrong with it, or None."""
    try:
        load_weights(network, read_checkpoint(path)["state_dict"], str(path))
    except CheckpointError as error:
        return error
    return None
