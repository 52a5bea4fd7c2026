"""Which videos this process does: by `--shard i/n`, or by its place in a Slurm job array."""

import argparse
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from common.errors import BadInputError

Value = TypeVar("Value")


@dataclass(frozen=True)
class Shard:
    """Shard number `index`, counted from 0, of `count` shards."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def of(self, videos: dict[str, Value]) -> dict[str, Value]:
        """Every `count`-th video in the order of the names, from `index` on; what is done already changes nothing."""
        return {name: videos[name] for name in sorted(videos)[self.index :: self.count]}


def parse_shard(text: str) -> Shard:
    """An argparse type: `0/3`, `1/3` and `2/3` are the three thirds."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or int(match[1]) >= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not i/n with 0 <= i < n")
    return Shard(int(match[1]), int(match[2]))


def wanted_shard(option: Shard | None) -> Shard | None:
    """The shard of `--shard`, else the Slurm array's, else None: all videos. Raises as `shard_of_array`."""
    return option or (shard_of_array() if "SLURM_ARRAY_TASK_ID" in os.environ else None)


def shard_of_array(environment: Mapping[str, str] = os.environ) -> Shard:
    """The shard that belongs to this task of a Slurm job array; 0/1 outside of one.

    Raises BadInputError for an array with gaps, because some shards would never run.
    """
    if "SLURM_ARRAY_TASK_ID" not in environment:
        return Shard(0, 1)
    task, first, count, step = (int(environment[f"SLURM_ARRAY_TASK_{name}"]) for name in ("ID", "MIN", "COUNT", "STEP"))
    last = int(environment["SLURM_ARRAY_TASK_MAX"])
    if (last - first) // step + 1 != count:
        raise BadInputError(f"a job array of {count} tasks from {first} to {last} has gaps: say --shard i/n instead")
    return Shard((task - first) // step, count)
