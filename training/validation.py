"""Score a validation set on all processes: one score per video, log losses, a CSV."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from torch import nn

from common.errors import BadInputError
from common.files import write_table
from training.config import TrainingConfig
from training.distributed import World
from training.engine import score_batches, too_many
from training.loading import ValidationSet, loader
from training.metrics import VideoScore, summarise, video_scores
from training.sampler import validation_slice

NAMED = 10  # so many unreadable samples' videos are named


class Validation(NamedTuple):
    """The videos' scores, their log losses by name, the number of samples, and how many of these are unreadable."""

    scores: dict[str, VideoScore]
    losses: dict[str, float]
    samples: int
    unreadable: int

    def write(self, path: Path) -> None:
        """Write the scores as CSV: video,label,probability."""
        rows = [(video, score.label, f"{score.probability:.6f}") for video, score in sorted(self.scores.items())]
        write_table(path, [("video", "label", "probability"), *rows])

    def lines(self, name: str) -> list[str]:
        """The lines to print about the set `name`."""
        losses = "  ".join(f"{key} {value:.4f}" for key, value in self.losses.items())
        lines = [f"validation {name}: {len(self.scores)} videos  {losses}"]
        if self.unreadable:
            lines.append(f"validation {name}: {self.unreadable} of {self.samples} samples are unreadable and left out")
        return lines


def validate(
    network: nn.Module,
    data: ValidationSet,
    config: TrainingConfig,
    world: World,
    beat: Callable[[], None] = lambda: None,
) -> Validation:
    """Score each sample once, each process its validation slice; return the same result in all processes.

    `beat` is called for every sample. Raises NonFiniteLossError for a score that is not finite. Raises BadInputError if
    more than the config's max_bad_fraction of the samples are unreadable, or all: such scores are of another set.
    """
    mine = validation_slice(len(data), world.rank, world.size)
    scored = []
    for pair in score_batches(network, loader(data, mine, config, world.device), config, world):
        scored.append(pair)
        beat()
    everything = sorted(pair for part in world.gather(scored) for pair in part)
    unreadable = sorted(set(range(len(data))) - {index for index, _ in everything})
    if too_many(len(unreadable), len(data), config.max_bad_fraction) or not everything:
        names = ", ".join(dict.fromkeys(data.video_and_label(index)[0] for index in unreadable[:NAMED]))
        raise BadInputError(
            f"{len(unreadable)} of {len(data)} validation samples are unreadable, too many to go on (max_bad_fraction "
            f"is {config.max_bad_fraction}): of {names} ..."
        )
    scores = video_scores((*data.video_and_label(index), probability) for index, probability in everything)
    return Validation(scores, summarise(scores), len(data), len(unreadable))
