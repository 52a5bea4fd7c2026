"""The learning rate as a function of the step (reference, section 5); it has no state to restore."""

from bisect import bisect_right
from math import cos, pi, prod

from training.config import LRScheduler


def lr_at(step: int, schedule: LRScheduler) -> float:
    """The learning rate of step `step`, counted from 0."""
    base, warm = schedule.base_lr, schedule.warmup_lr
    if step < schedule.warmup_steps:
        return base + (step / schedule.warmup_steps) * (warm - base)
    lr = warm * prod(schedule.lr_mults[: bisect_right(schedule.lr_steps, step)])
    if schedule.cosine:
        lr *= (1 + cos(pi * (step - schedule.warmup_steps) / (schedule.max_iter - schedule.warmup_steps))) / 2
    return lr
