"""The training step, its loop, and validation."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from common.errors import BadInputError
from training.config import TrainingConfig
from training.distributed import World
from training.schedule import lr_at

ENOUGH_TO_JUDGE = 1000  # crops; among fewer a share says little


class NonFiniteLossError(RuntimeError):
    """A loss (of `step`) or a validation score became NaN or infinite; no checkpoint is written of weights that do that."""

    def __init__(self, step: int | None, message: str) -> None:
        super().__init__(message)
        self.step = step


@dataclass
class Meter:
    """Means since the last report."""

    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0

    def add(self, **values: float) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1

    def means(self) -> dict[str, float]:
        """The means, starting anew."""
        means = {name: value / self.count for name, value in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


class CropCount:
    """How many crops were asked for, and which of them were unreadable."""

    def __init__(self, max_bad_fraction: float) -> None:
        self.max_bad_fraction = max_bad_fraction
        self.seen, self.replaced = 0, 0
        self.bad: dict[str, None] = {}  # in order, each once

    def add(self, seen: int, bad: list[str]) -> None:
        """Count; raises BadInputError naming the unreadable ones when they are too many."""
        self.seen += seen
        self.replaced += len(bad)
        self.bad |= dict.fromkeys(bad)
        if bad and self.replaced > self.max_bad_fraction * max(self.seen, ENOUGH_TO_JUDGE):
            names = "\n  ".join(self.bad)
            raise BadInputError(f"{self.replaced} of {self.seen} crops were unreadable, too many to go on:\n  {names}")


def make_criterion(config: TrainingConfig, device: torch.device) -> nn.CrossEntropyLoss:
    """Cross entropy with class weights [REAL, FAKE]: [1.8, .2] for the contract's positive_weight of .1."""
    positive = 2 * config.positive_weight
    return nn.CrossEntropyLoss(weight=torch.tensor([2 - positive, positive], device=device))


def make_optimizer(config: TrainingConfig, model: nn.Module) -> Optimizer:
    """SGD as the config says; the learning rate is set at each step."""
    return torch.optim.SGD(
        model.parameters(),
        lr=0.0,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
    )


def train(
    config: TrainingConfig,
    model: nn.Module,
    optimizer: Optimizer,
    batches: Iterable[tuple[Tensor, Tensor, list[str]]],
    world: World,
    start: int,
    report: Callable[[int, dict[str, float]], None],
    checkpoint: Callable[[int], None],
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Train from step `start` to the schedule's end, or until any process is asked to stop; return the step that is next.

    A batch is images [B, 3, H, W] or clips [B, 3, T, H, W], labels [B], and the names of crops that were unreadable and replaced.
    Each step takes as many batches as reference processes this one stands in for. Every print_freq steps `report(step, means)` is
    called; every val_freq steps and after the last one `checkpoint(step)`. Raises NonFiniteLossError, and BadInputError with a
    list when more than max_bad_fraction of the crops are unreadable.
    """
    criterion, crops = make_criterion(config, world.device), CropCount(config.max_bad_fraction)
    shares = world.shares(config.reference_world_size)
    meter, last = Meter(), config.lr_scheduler.max_iter - 1
    began, batches = time.perf_counter(), iter(batches)
    model.train()
    for step in range(start, last + 1):
        lr = set_lr(optimizer, lr_at(step, config.lr_scheduler))
        optimizer.zero_grad(set_to_none=True)
        for share in shares:
            images, labels, bad = next(batches)
            crops.add(len(labels), bad)
            images, labels = images.to(world.device, non_blocking=True), labels.to(world.device, non_blocking=True)
            with as_reference_process(model, config.seed, step, share, last=share == shares[-1]):
                logits = model(images)
                loss = criterion(logits, labels)
                if not math.isfinite(loss.item()):
                    raise NonFiniteLossError(step, f"the loss of step {step} is {loss.item()} (learning rate {lr:g})")
                # The reference divides by its world size on top of the gradients' mean: its learning rates are meant so.
                (loss / config.reference_world_size / len(shares)).backward()
            accuracy = (logits.argmax(dim=1) == labels).float().mean().item()
            meter.add(loss=loss.item(), acc1=100 * accuracy, replaced=len(bad), seconds=time.perf_counter() - began)
            began = time.perf_counter()
        optimizer.step()
        if step % config.print_freq == 0 or step == last:
            means = meter.means()
            report(step, means | {"lr": lr, "seconds": means["seconds"] * len(shares)})
        if (step % config.val_freq == 0 and step > 0) or step == last:
            checkpoint(step)
            model.train()
        if step < last and world.any(asked_to_stop()):
            return step + 1
    return last + 1


@contextmanager
def as_reference_process(model: nn.Module, seed: int, step: int, share: int, last: bool) -> Iterator[None]:
    """Do what one process of the reference does in a step, so that it does not matter how many there are.

    Dropout's random numbers are those of (seed, step, share), which also leaves nothing to restore; batch-norm statistics follow
    the first process only; gradients are averaged over processes after the last share.
    """
    torch.manual_seed(int(np.random.SeedSequence([seed, step, share]).generate_state(1)[0]))
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)] if share else []
    for norm in norms:
        norm.track_running_stats = False
    try:
        with nullcontext() if last or not isinstance(model, DistributedDataParallel) else model.no_sync():
            yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def set_lr(optimizer: Optimizer, lr: float) -> float:
    """Set and return the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    return lr


@torch.inference_mode()
def predict(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: torch.device) -> Iterator[tuple[int, float]]:
    """Yield (index of the sample, probability of FAKE) for batches of images [B, 3, H, W] and indices [B].

    Raises NonFiniteLossError for a probability that is not finite.
    """
    model.eval()
    for images, indices in batches:
        if not len(indices):
            continue
        probabilities = model(images.to(device, non_blocking=True)).float().softmax(dim=1)[:, 1]
        if not probabilities.isfinite().all():
            raise NonFiniteLossError(None, "a validation score is not finite: no checkpoint is made of these weights")
        yield from zip(indices.tolist(), probabilities.tolist(), strict=True)
