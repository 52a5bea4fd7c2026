"""The training loop and its step."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from training.config import TrainingConfig
from training.distributed import World
from training.inputs import memory_format, normalise
from training.meter import Feed, Meter, TrainingBatch
from training.mixup import mix_pairs
from training.schedule import lr_at


class Observer(Protocol):
    """The object that `train` reports to, and asks whether to stop."""

    def report(self, step: int, means: dict[str, float]) -> None:
        """Called every print_freq steps and after the last one, with the means since the last call.

        These are loss, acc1 (percent), lr, replaced (unreadable crops per batch), seconds (per step) and waited (the
        fraction of the time spent waiting for data).
        """

    def checkpoint(self, step: int) -> None:
        """Called every val_freq steps and after the last one."""

    def after_step(self) -> bool:
        """Called after every step; returns whether this process was asked to stop."""


def train(
    config: TrainingConfig,
    model: nn.Module,
    optimizer: Optimizer,
    batches: Iterable[TrainingBatch],
    world: World,
    start: int,
    observer: Observer,
    average: AveragedModel | None = None,
) -> int:
    """Train from step `start` to the schedule's end, or until any process is asked to stop; return the next step.

    `batches` yields RGB uint8 images [B, H, W, 3] or clips [B, T, H, W, 3], labels [B] (1 FAKE), and the names of the
    unreadable crops that were replaced. Each step takes one batch for each of the reference's processes that this one
    stands in for. `average` follows the weights after every step.

    Raises NonFiniteLossError at the next report, checkpoint or stop after the loss became NaN or infinite. Raises
    BadInputError if more than max_bad_fraction of the crops are unreadable, or if the config asks for mixup and the
    samples are not pairs.
    """
    criterion, schedule = make_criterion(config, world.device), config.lr_scheduler
    feed, meter, last = Feed(batches, config, world.device), Meter(), schedule.max_iter - 1
    model.train()
    for step in range(start, last + 1):
        lr = set_lr(optimizer, lr_at(step, schedule))
        optimizer.zero_grad(set_to_none=True)
        for loss, accuracy in accumulate_gradients(model, feed, criterion, config, world, step):
            meter.add(step, lr, loss, accuracy)
        optimizer.step()
        if average is not None:
            average.update_parameters(model)
        if step % config.print_freq == 0 or step == last:
            observer.report(step, meter.means(feed) | {"lr": lr})
        if (step % config.val_freq == 0 and step > 0) or step == last:
            meter.check_losses()
            observer.checkpoint(step)
            model.train()
            meter.restart_clock()
        asked_to_stop = observer.after_step()
        if step < last and world.any(asked_to_stop):
            meter.check_losses()
            return step + 1
    return last + 1


def accumulate_gradients(
    model: nn.Module, feed: Feed, criterion: nn.Module, config: TrainingConfig, world: World, step: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Add up the gradients of one batch for each of the reference's processes that this one stands in for.

    Yields the loss and the accuracy (in [0, 1]) of each batch, scalars on the world's device.
    """
    ranks = world.reference_ranks(config.reference_world_size)
    for rank in ranks:
        images, labels = next(feed)
        with as_reference_process(model, config.seed, step, rank, last=rank == ranks[-1]):
            images, targets = mix_pairs(images, labels, config.mixup) if config.mixup else (images, labels)
            logits = forward(model, images, config, world)
            loss = criterion(logits, targets)
            # The reference divides the loss by its world size and averages the gradients as well. Its learning rates
            # are made for that.
            (loss / config.reference_world_size / len(ranks)).backward()
        yield loss.detach(), (logits.argmax(dim=1) == labels).float().mean()


def forward(model: nn.Module, batch: Tensor, config: TrainingConfig, world: World) -> Tensor:
    """Logits float32 [B, classes] for RGB uint8 images [B, H, W, 3] or clips [B, T, H, W, 3] on any device.

    The network computes in the world's precision.
    """
    images = normalise(batch.to(world.device, non_blocking=True), config)
    images = images.contiguous(memory_format=memory_format(images))
    with torch.autocast(world.device.type, torch.bfloat16, enabled=world.bf16):
        return model(images).float()


@contextmanager
def as_reference_process(model: nn.Module, seed: int, step: int, rank: int, last: bool) -> Iterator[None]:
    """Do what the reference's process `rank` does in a step, so results do not depend on how many processes run.

    The random numbers of mixup and dropout depend only on (seed, step, rank), so a resumed run has none to restore.
    Batch-norm statistics follow only the reference's process 0. Gradients are averaged over the processes after the
    `last` of this process's batches.
    """
    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1)[0]))
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)] if rank else []
    for norm in norms:
        norm.track_running_stats = False
    try:
        with nullcontext() if last or not isinstance(model, DistributedDataParallel) else model.no_sync():
            yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def make_criterion(config: TrainingConfig, device: torch.device) -> nn.CrossEntropyLoss:
    """Cross entropy with the class weights [REAL, FAKE]: [1.8, 0.2] for the reference's positive_weight of 0.1."""
    positive = 2 * config.positive_weight
    weight = torch.tensor([2 - positive, positive], device=device)
    return nn.CrossEntropyLoss(weight=weight, label_smoothing=config.label_smoothing)


def make_optimizer(config: TrainingConfig, model: nn.Module) -> Optimizer:
    """The config's optimizer over all parameters; `train` sets its learning rate at each step."""
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


def set_lr(optimizer: Optimizer, lr: float) -> float:
    """Set and return the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    return lr
