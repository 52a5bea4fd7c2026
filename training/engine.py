"""The training step, its loop, and validation."""

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from common.errors import BadInputError
from training.average import Average
from training.config import TrainingConfig
from training.distributed import World
from training.inputs import memory_format, normalise
from training.mixup import check_pairs, mix_pairs
from training.schedule import lr_at

ENOUGH_TO_JUDGE = 1000  # crops; of fewer, the fraction that is unreadable says little


class NonFiniteLossError(RuntimeError):
    """The loss of `step`, or a validation score, is NaN or infinite; such weights leave no checkpoint."""

    def __init__(self, step: int | None, message: str) -> None:
        super().__init__(message)
        self.step = step


class Observer(Protocol):
    """Whom `train` reports to, and whom it asks whether to stop."""

    def report(self, step: int, means: dict[str, float]) -> None:
        """Called every print_freq steps and after the last one, with the means since the last call.

        These are loss, acc1 (percent), lr, replaced (unreadable crops per batch), seconds (per step) and waited (the
        fraction of the time spent waiting for data).
        """

    def checkpoint(self, step: int) -> None:
        """Called every val_freq steps and after the last one."""

    def after_step(self) -> bool:
        """Called after every step; returns whether this process was asked to stop."""


class Meter:
    """Means since the last report. Losses stay on their device until then: waiting for each would hold up a GPU."""

    def __init__(self) -> None:
        self.pending: list[tuple[int, float, Tensor]] = []  # step, learning rate, [loss, accuracy]
        self.sums: dict[str, float] = {}
        self.count = 0
        self.go_on()

    def go_on(self) -> None:
        """Start the clock again: the time before this was not training."""
        self.began = time.perf_counter()

    def add(self, step: int, lr: float, loss: Tensor, accuracy: Tensor, replaced: int, waited: float) -> None:
        """Count a batch; `waited` is how many of its seconds were spent waiting for data."""
        self.pending.append((step, lr, torch.stack([loss.detach(), accuracy])))
        now = time.perf_counter()
        self.sum(replaced=replaced, seconds=now - self.began, waited=waited)
        self.began = now
        self.count += 1

    def sum(self, **values: float) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def settle(self) -> None:
        """Wait for the losses so far; raises NonFiniteLossError with the first step where one is not finite."""
        values = torch.stack([value for *_, value in self.pending]).tolist() if self.pending else []
        for (step, lr, _), (loss, accuracy) in zip(self.pending, values, strict=True):
            if not math.isfinite(loss):
                raise NonFiniteLossError(step, f"the loss of step {step} is {loss} (learning rate {lr:g})")
            self.sum(loss=loss, acc1=100 * accuracy)
        self.pending = []

    def means(self) -> dict[str, float]:
        """Return the means per batch of loss, acc1, replaced and seconds, and waited as a fraction; then start anew."""
        self.settle()
        means = {name: value / self.count for name, value in self.sums.items()}
        means["waited"] /= means["seconds"]
        self.sums, self.count = {}, 0
        return means


def too_many(bad: int, seen: int, max_bad_fraction: float) -> bool:
    """Whether more crops than that fraction are unreadable; of fewer than ENOUGH_TO_JUDGE, more than of so many."""
    return bad > max_bad_fraction * max(seen, ENOUGH_TO_JUDGE)


class CropCount:
    """Counts how many crops were asked for, and remembers which of them were unreadable."""

    def __init__(self, max_bad_fraction: float) -> None:
        self.max_bad_fraction = max_bad_fraction
        self.seen, self.replaced = 0, 0
        self.bad: dict[str, None] = {}  # in order, each once

    def add(self, seen: int, bad: list[str]) -> None:
        """Count crops; raises BadInputError naming the unreadable ones if there are too many."""
        self.seen += seen
        self.replaced += len(bad)
        self.bad |= dict.fromkeys(bad)
        if bad and too_many(self.replaced, self.seen, self.max_bad_fraction):
            names = "\n  ".join(self.bad)
            raise BadInputError(f"{self.replaced} of {self.seen} crops were unreadable, too many to go on:\n  {names}")


def make_criterion(config: TrainingConfig, device: torch.device) -> nn.CrossEntropyLoss:
    """Cross entropy with class weights [REAL, FAKE]: [1.8, .2] for the contract's positive_weight of .1."""
    positive = 2 * config.positive_weight
    weight = torch.tensor([2 - positive, positive], device=device)
    return nn.CrossEntropyLoss(weight=weight, label_smoothing=config.label_smoothing)


def make_optimizer(config: TrainingConfig, model: nn.Module) -> Optimizer:
    """The config's optimizer; the learning rate is set at each step."""
    if config.optimizer == "adamw":
        betas = (config.momentum, 0.999)
        return torch.optim.AdamW(model.parameters(), lr=0.0, betas=betas, weight_decay=config.weight_decay, fused=True)
    return torch.optim.SGD(
        model.parameters(),
        lr=0.0,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=True,
    )


def with_settings_of(optimizer: Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
    """A saved optimizer state with this optimizer's settings (momentum and so on), which are the config's.

    Raises ValueError if it is of other parameters.
    """
    groups = optimizer.state_dict()["param_groups"]
    if [group["params"] for group in saved["param_groups"]] != [group["params"] for group in groups]:
        raise ValueError("the optimizer's state is of other parameters")
    return saved | {"param_groups": groups}


def train(
    config: TrainingConfig,
    model: nn.Module,
    optimizer: Optimizer,
    batches: Iterable[tuple[Tensor, Tensor, list[str]]],
    world: World,
    start: int,
    observer: Observer,
    average: Average | None = None,
) -> int:
    """Train from step `start` to the schedule's end, or until any process is asked to stop; return the next step.

    `average` takes in the weights of every step.

    A batch is RGB uint8 images [B, H, W, 3] or clips [B, T, H, W, 3], labels [B], and the names of the unreadable crops
    that were replaced. Each step takes one batch for each of the reference's processes that this one stands in for.

    Raises NonFiniteLossError at the next report, checkpoint or stop. Raises BadInputError if more than max_bad_fraction
    of the crops are unreadable, with a list of them, or if there is mixup and the samples are not pairs.
    """
    criterion, crops = make_criterion(config, world.device), CropCount(config.max_bad_fraction)
    shares = world.shares(config.reference_world_size)
    batches, meter, last = iter(batches), Meter(), config.lr_scheduler.max_iter - 1
    model.train()
    for step in range(start, last + 1):
        lr = set_lr(optimizer, lr_at(step, config.lr_scheduler))
        optimizer.zero_grad(set_to_none=True)
        for share in shares:
            asked = time.perf_counter()
            images, labels, bad = next(batches)
            waited = time.perf_counter() - asked
            crops.add(len(labels), bad)
            if config.mixup:
                check_pairs(labels)
            images, labels = (part.to(world.device, non_blocking=True) for part in (images, labels))
            with as_reference_process(model, config.seed, step, share, last=share == shares[-1]):
                images, targets = mix_pairs(images, labels, config.mixup) if config.mixup else (images, labels)
                logits = forward(model, images, config, world)
                loss = criterion(logits, targets)
                # The reference divides the loss by its world size and averages the gradients as well. Its learning
                # rates are made for that.
                (loss / config.reference_world_size / len(shares)).backward()
            meter.add(step, lr, loss, (logits.argmax(dim=1) == labels).float().mean(), len(bad), waited)
        optimizer.step()
        if average is not None:
            average.update(model.module if isinstance(model, DistributedDataParallel) else model)
        if step % config.print_freq == 0 or step == last:
            means = meter.means()
            observer.report(step, means | {"lr": lr, "seconds": means["seconds"] * len(shares)})
        if (step % config.val_freq == 0 and step > 0) or step == last:
            meter.settle()
            observer.checkpoint(step)
            model.train()
            meter.go_on()
        asked_to_stop = observer.after_step()
        if step < last and world.any(asked_to_stop):
            meter.settle()
            return step + 1
    return last + 1


def forward(model: nn.Module, batch: Tensor, config: TrainingConfig, world: World) -> Tensor:
    """Logits [B, classes], float32, of uint8 images or clips on any device; computed in the world's precision."""
    images = normalise(batch.to(world.device, non_blocking=True), config)
    images = images.contiguous(memory_format=memory_format(images))
    with torch.autocast(world.device.type, torch.bfloat16, enabled=world.bf16):
        return model(images).float()


@contextmanager
def as_reference_process(model: nn.Module, seed: int, step: int, share: int, last: bool) -> Iterator[None]:
    """Do what one process of the reference does in a step, so that results do not depend on how many processes run.

    The random numbers of mixup and dropout depend only on (seed, step, share), so a resumed run has none to restore.
    Batch-norm statistics follow the reference's first process only. Gradients are averaged over the processes after the
    last share.
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
def score_batches(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], config: TrainingConfig, world: World
) -> Iterator[tuple[int, float]]:
    """Yield (index of the sample, probability of FAKE) for batches of images or clips, as for `train`, and indices [B].

    Raises NonFiniteLossError for a probability that is not finite.
    """
    model.eval()
    for images, indices in batches:
        if not len(indices):
            continue
        probabilities = forward(model, images, config, world).softmax(dim=1)[:, 1]
        if not probabilities.isfinite().all():
            raise NonFiniteLossError(None, "a validation score is not finite: no checkpoint is made of these weights")
        yield from zip(indices.tolist(), probabilities.tolist(), strict=True)
