"""The learning rate as a function of the step (contract, section 5); nothing to restore."""

from bisect import bisect_right
from math import prod

from training.config import LRScheduler


def lr_at(step: int, schedule: LRScheduler) -> float:
    """The learning rate of step `step`, counted from 0."""
    base, warm = schedule.base_lr, schedule.warmup_lr
    if step < schedule.warmup_steps:
        return base + (step / schedule.warmup_steps) * (warm - base)
    return warm * prod(schedule.lr_mults[: bisect_right(schedule.lr_steps, step)])
