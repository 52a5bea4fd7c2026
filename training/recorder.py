"""The records of a run, which rank 0 writes: what is printed and goes to log.txt, and TensorBoard's curves."""

import platform
import sys
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

from torch import nn
from torch.utils.tensorboard import SummaryWriter

from common.version import commit
from training.config import TrainingConfig
from training.validation import Validation

PACKAGES = ("torch", "torchvision", "timm", "numpy")  # what a network's numbers may depend on


class Recorder:
    """The log and the curves of a run. On other ranks than 0 nothing is recorded."""

    def __init__(self, folder: Path, rank: int) -> None:
        self.folder, self.rank = folder, rank
        self.writer: SummaryWriter | None = None

    def log(self, text: str) -> None:
        """Print a line and add it to the run's log."""
        if self.rank:
            return
        print(text, flush=True)
        try:
            with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
                file.write(text + "\n")
        except OSError as error:  # on this rank alone: the others would wait. The next checkpoint ends all of them.
            print(f"{self.folder / 'log.txt'} lacks this line: {error}", file=sys.stderr, flush=True)

    def start_curves(self, step: int) -> None:
        """Open TensorBoard's file; what an earlier process wrote for this step and later ones is then hidden."""
        self.writer = SummaryWriter(self.folder, purge_step=step)

    def curve(self, name: str, value: float, step: int) -> None:
        """Add a point to a curve."""
        if self.writer is not None:
            self.writer.add_scalar(name, value, step)

    def report(self, step: int, means: dict[str, float], config: TrainingConfig) -> None:
        """Record the means that `training.engine.Observer.report` gets."""
        last, seconds = config.lr_scheduler.max_iter - 1, means["seconds"]
        for name in ("loss", "acc1", "lr"):
            self.curve(name, means[name], step)
        values = "  ".join(f"{name} {means[name]:.4g}" for name in ("loss", "acc1", "lr"))
        speed = config.batch_size * config.reference_world_size / seconds
        left = timedelta(seconds=round((last - step) * seconds))
        note = f"  {means['replaced']:.2f} unreadable samples per batch replaced" if means["replaced"] else ""
        waited = f"waited for data {means['waited']:.0%}"
        self.log(f"step {step}/{last}  {values}  {speed:.4g} samples/s  {waited}  ETA {left}{note}")

    def validated(self, name: str, step: int, validation: Validation) -> None:
        """Record the log losses and the AUC of the validation set `name`."""
        for metric, value in validation.measures.items():
            self.curve(f"{name}/{metric}", value, step)
        for line in validation.lines(name):
            self.log(line)

    def close(self) -> None:
        """Finish TensorBoard's file."""
        if self.writer is not None:
            self.writer.close()


def origin(network: nn.Module) -> str:
    """What a training's numbers come from, in a line: parameters, commit of this code, versions of packages."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return f"{parameters:,} parameters; commit {commit()}; {packages}, Python {platform.python_version()}"
