"""The order of samples (contract, section 5): fixed for the whole training, so a resumed run takes a slice of it."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Sampler

from common.errors import BadInputError

Part = tuple[int, float]  # the number of samples of a list, and its share of what is drawn


def training_order(parts: Sequence[Part], max_iter: int, batch: int, world: int, together: int = 1) -> np.ndarray:
    """The sample of each position of each rank, int64 [world, max_iter * batch].

    With seed 0: shuffle 0..n-1, truncate to what all ranks need, tile, truncate, shuffle; each rank takes its
    consecutive slice. The contract has neither several parts, of which each fills its share of what is needed, nor
    `together`: so many consecutive samples are shuffled as one. It must divide the parts' samples and `batch`.
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
    """The samples that a rank validates: its slice of the contract's shuffled order.

    The contract repeats samples until all slices are equally long. Here none is repeated: every sample is in the slice
    of exactly one rank, and the last ranks may have fewer, or none.
    """
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(0)).tolist()
    count = -(-samples // world)
    return order[rank * count : (rank + 1) * count]


class TrainingSampler(Sampler[tuple[int, int]]):
    """Yields (position, sample) from step `start` on: in each step a batch for each of `shares`.

    `shares` are the reference's processes that this one stands in for. A position counts through the order of all of
    the reference's processes, so it does not depend on the number of processes here. It seeds the sample's
    augmentation. Samples that stay `together` have the same position.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        max_iter: int,
        batch: int,
        shares: range,
        reference: int,
        start: int = 0,
        together: int = 1,
    ) -> None:
        """Raises BadInputError if a part's number of samples is not a multiple of `together`."""
        for samples, _ in parts:
            if samples % together:
                raise BadInputError(f"{samples} samples do not make groups of {together} (together)")
        self.order = training_order(parts, max_iter, batch, reference, together)
        self.batch, self.shares, self.steps, self.together = batch, shares, range(start, max_iter), together

    def of_step(self, step: int) -> Iterator[tuple[int, int]]:
        """The positions and samples of one step."""
        for share in self.shares:
            for position in range(step * self.batch, (step + 1) * self.batch):
                yield (share * self.order.shape[1] + position) // self.together, int(self.order[share, position])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for step in self.steps:
            yield from self.of_step(step)

    def __len__(self) -> int:
        return len(self.steps) * len(self.shares) * self.batch
