"""The order of training samples (contract, section 5): fixed for the whole training, so that resuming is a matter of slicing."""

from collections.abc import Iterator, Sized

import numpy as np
from torch.utils.data import Sampler


def training_order(samples: int, max_iter: int, batch: int, rank: int, world: int) -> np.ndarray:
    """The sample of each position of `rank`, int64 [max_iter * batch].

    Seed 0: shuffle 0..n-1, truncate to what all ranks need, tile, truncate, shuffle; each rank takes its consecutive slice.
    """
    needed = max_iter * batch * world
    random = np.random.RandomState(0)
    indices = np.arange(samples)
    random.shuffle(indices)
    indices = indices[:needed]
    indices = np.tile(indices, -(-needed // len(indices)))[:needed]
    random.shuffle(indices)
    return indices[rank * max_iter * batch : (rank + 1) * max_iter * batch]


class TrainingSampler(Sampler[tuple[int, int]]):
    """Yields (position, sample) from step `start` on; the position seeds the sample's augmentation."""

    def __init__(self, data: Sized, max_iter: int, batch: int, rank: int, world: int, start: int = 0) -> None:
        self.order = training_order(len(data), max_iter, batch, rank, world)
        self.offset = rank * max_iter * batch
        self.first = start * batch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for position in range(self.first, len(self.order)):
            yield self.offset + position, int(self.order[position])

    def __len__(self) -> int:
        return len(self.order) - self.first
