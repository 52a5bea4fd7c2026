"""The order of samples (reference, section 5): fixed for a whole training, so a resumed run takes a slice of it."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler

from common.errors import BadInputError

Part = tuple[int, float]  # a list's number of samples, and its share of the samples that are drawn


def training_order(parts: Sequence[Part], max_iter: int, batch: int, world: int, together: int = 1) -> np.ndarray:
    """The sample at each position of each rank, int64 [world, max_iter * batch].

    With seed 0: shuffle 0..n-1, truncate to what all ranks need, tile, truncate, shuffle; each rank takes its
    consecutive slice. The reference has only one part; here each of several fills its share of what is needed. It does
    not have `together` either: that many consecutive samples are shuffled as one. `together` must divide `batch` and
    the number of samples of each part.
    """
    needed = max_iter * batch // together * world
    ends = np.cumsum([share for _, share in parts]) * needed
    counts = np.diff(np.round(ends).astype(int), prepend=0)
    random, first, drawn = np.random.RandomState(0), 0, []
    for (samples, _), count in zip(parts, counts, strict=True):
        indices = np.arange(samples // together)
        random.shuffle(indices)
        indices = indices[:count]
        drawn.append(first + np.tile(indices, -(-count // max(len(indices), 1)))[:count])
        first += samples // together
    order = np.concatenate(drawn)
    random.shuffle(order)
    return (order[:, None] * together + np.arange(together)).reshape(world, -1)


def validation_slice(samples: int, rank: int, world: int) -> list[int]:
    """The samples that a rank validates: its slice of the reference's shuffled order.

    The reference repeats samples until all slices are equally long. Here none is repeated: every sample is in the slice
    of exactly one rank, and the last ranks may have fewer samples, or none.
    """
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(0)).tolist()
    count = -(-samples // world)
    return order[rank * count : (rank + 1) * count]


class TrainingSampler(Sampler[tuple[int, int]]):
    """Yields (position, sample) from step `start` on: in each step a batch for each of `ranks`.

    `ranks` are the reference's processes that this one stands in for, and `reference` is how many it has. A position
    counts through the order of all of them, so it does not depend on the number of processes here. It seeds the
    sample's augmentation. Samples that stay `together` have the same position.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        max_iter: int,
        batch: int,
        ranks: range,
        reference: int,
        start: int = 0,
        together: int = 1,
    ) -> None:
        """Raises BadInputError if a part's number of samples is not a multiple of `together`."""
        for samples, _ in parts:
            if samples % together:
                raise BadInputError(f"{samples} samples do not make groups of {together} (together)")
        self.order = training_order(parts, max_iter, batch, reference, together)
        self.batch, self.ranks, self.steps, self.together = batch, ranks, range(start, max_iter), together

    def of_step(self, step: int) -> Iterator[tuple[int, int]]:
        """The positions and samples of a step."""
        for rank in self.ranks:
            for position in range(step * self.batch, (step + 1) * self.batch):
                yield (rank * self.order.shape[1] + position) // self.together, int(self.order[rank, position])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for step in self.steps:
            yield from self.of_step(step)

    def __len__(self) -> int:
        return len(self.steps) * len(self.ranks) * self.batch
