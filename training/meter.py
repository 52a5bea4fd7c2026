"""What is counted while a training runs: unreadable crops, waiting for data, losses and accuracies."""

import math
import time
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from common.errors import BadInputError
from training.config import TrainingConfig
from training.mixup import check_pairs

FEWEST_TO_JUDGE = 1000  # crops: a fraction of fewer says little

TrainingBatch = tuple[Tensor, Tensor, list[str]]  # images or clips, labels, names of the unreadable crops


class NonFiniteLossError(RuntimeError):
    """The loss of `step`, or a validation score, is NaN or infinite; such weights leave no checkpoint."""

    def __init__(self, step: int | None, message: str) -> None:
        super().__init__(message)
        self.step = step


class Feed(Iterator[tuple[Tensor, Tensor]]):
    """Yields batches on their device; counts unreadable crops and the time spent waiting for data."""

    def __init__(self, batches: Iterable[TrainingBatch], config: TrainingConfig, device: torch.device) -> None:
        self.batches, self.config, self.device = iter(batches), config, device
        self.crops, self.unreadable, self.waited = 0, 0, 0.0
        self.names: dict[str, None] = {}  # of the unreadable crops, in order, each once

    def __next__(self) -> tuple[Tensor, Tensor]:
        """The next images or clips and labels.

        Raises BadInputError, with the names, if too many crops are unreadable, or if mixup gets no pairs.
        """
        asked = time.perf_counter()
        images, labels, unreadable = next(self.batches)
        self.waited += time.perf_counter() - asked
        self.count(len(labels), unreadable)
        if self.config.mixup:
            check_pairs(labels)
        return images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)

    def count(self, crops: int, unreadable: list[str]) -> None:
        """Count crops; raises BadInputError naming the unreadable ones if there are too many."""
        self.crops += crops
        self.unreadable += len(unreadable)
        self.names |= dict.fromkeys(unreadable)
        if unreadable and too_many(self.unreadable, self.crops, self.config.max_bad_fraction):
            names = "\n  ".join(self.names)
            raise BadInputError(
                f"{self.unreadable} of {self.crops} crops were unreadable, too many to go on:\n  {names}"
            )


def too_many(unreadable: int, crops: int, max_bad_fraction: float) -> bool:
    """Whether more than that fraction of the crops is unreadable; fewer than FEWEST_TO_JUDGE count as that many."""
    return unreadable > max_bad_fraction * max(crops, FEWEST_TO_JUDGE)


class Meter:
    """Means since the last report. Losses stay on their device until then: waiting for each would hold up a GPU."""

    def __init__(self) -> None:
        self.pending: list[tuple[int, float, Tensor]] = []  # step, learning rate, [loss, accuracy]
        self.losses: list[tuple[float, float]] = []
        self.steps: set[int] = set()
        self.seconds, self.waited, self.unreadable = 0.0, 0.0, 0  # the last two: of the feed, at the last report
        self.restart_clock()

    def restart_clock(self) -> None:
        """Leave out the time since the last batch, which was not spent on training."""
        self.began = time.perf_counter()

    def add(self, step: int, lr: float, loss: Tensor, accuracy: Tensor) -> None:
        """Add a batch's loss and accuracy, scalars [] on any device."""
        self.pending.append((step, lr, torch.stack([loss, accuracy])))
        self.steps.add(step)
        self.seconds += time.perf_counter() - self.began
        self.restart_clock()

    def check_losses(self) -> None:
        """Wait for the losses so far; raises NonFiniteLossError with the first step whose loss is not finite."""
        values = torch.stack([value for *_, value in self.pending]).tolist() if self.pending else []
        for (step, lr, _), (loss, accuracy) in zip(self.pending, values, strict=True):
            if not math.isfinite(loss):
                raise NonFiniteLossError(step, f"the loss of step {step} is {loss} (learning rate {lr:g})")
            self.losses.append((loss, accuracy))
        self.pending = []

    def means(self, feed: Feed) -> dict[str, float]:
        """The means since the last call, as `Observer.report` gets them, without lr. Raises as `check_losses` does."""
        self.check_losses()
        means = {
            "loss": sum(loss for loss, _ in self.losses) / len(self.losses),
            "acc1": sum(100 * accuracy for _, accuracy in self.losses) / len(self.losses),
            "replaced": (feed.unreadable - self.unreadable) / len(self.losses),
            "seconds": self.seconds / len(self.steps),
            "waited": (feed.waited - self.waited) / self.seconds,
        }
        self.losses, self.steps, self.seconds = [], set(), 0.0
        self.waited, self.unreadable = feed.waited, feed.unreadable
        return means
