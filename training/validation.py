"""Score validation sets on all processes: one score per video, log losses, AUC, a table."""

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from common.errors import BadInputError
from common.files import write_table
from training.config import Config, TrainingConfig
from training.distributed import World
from training.engine import forward
from training.loading import ValidationSet, loader
from training.meter import NonFiniteLossError, too_many
from training.metrics import VideoScore, auc, summarise, video_scores
from training.sampler import validation_slice

NAMED = 10  # at most this many videos with unreadable samples are named


def validation_sets(
    config: Config, validation_set: Callable[[Config, Path], ValidationSet]
) -> dict[str, ValidationSet]:
    """A validation set for each list of the config, by name. Raises BadInputError if no crop of a list is readable."""
    sets = {name: validation_set(config, Path(list_file)) for name, list_file in config.val_lists.items()}
    for name, data in sets.items():
        tried, readable = data.tracks.any_readable()
        if not readable:
            where = f"{config.val_lists[name]} is readable in {config.val_root} (val_root)"
            raise BadInputError(f"none of {tried} crops tried of {where}")
    return sets


def table_path(folder: Path, step: int, name: str) -> Path:
    """The table of the scores of the validation set `name` after a step, in a run's folder."""
    return folder / f"ckpt_iter_{step}_{name}.csv"


class Validation(NamedTuple):
    """The videos' scores, their log losses by name, the number of samples, and how many of them are unreadable."""

    scores: dict[str, VideoScore]
    losses: dict[str, float]
    samples: int
    unreadable: int

    @property
    def measures(self) -> dict[str, float]:
        """The log losses, and `video_auc` if there are videos of both labels."""
        area = auc(self.scores.values())
        return self.losses if math.isnan(area) else self.losses | {"video_auc": area}

    def write(self, path: Path) -> None:
        """Write the scores as CSV with the columns video, label, probability."""
        rows = [(video, score.label, f"{score.probability:.6f}") for video, score in sorted(self.scores.items())]
        write_table(path, [("video", "label", "probability"), *rows])

    def lines(self, name: str) -> list[str]:
        """The lines to print about the validation set `name`."""
        measures = "  ".join(f"{key} {value:.4f}" for key, value in self.measures.items())
        lines = [f"validation {name}: {len(self.scores)} videos  {measures}"]
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
    """Score each sample once, each process its slice of them; return the same result in all processes.

    `beat` is called after every sample. Raises NonFiniteLossError for a score that is not finite. Raises BadInputError
    if more than the config's max_bad_fraction of the samples are unreadable, or all of them: the scores would be those
    of another set.
    """
    indices = validation_slice(len(data), world.rank, world.size)
    scored = []
    for pair in score_batches(network, loader(data, indices, config, world.device), config, world):
        scored.append(pair)
        beat()
    everything = sorted(pair for part in world.gather(scored) for pair in part)
    unreadable = sorted(set(range(len(data))) - {index for index, _ in everything})
    if too_many(len(unreadable), len(data), config.max_bad_fraction) or not everything:
        names = ", ".join(dict.fromkeys(data.video_and_label(index)[0] for index in unreadable[:NAMED]))
        raise BadInputError(
            f"{len(unreadable)} of {len(data)} validation samples are unreadable, too many to go on (max_bad_fraction "
            f"is {config.max_bad_fraction}). They are from {names} ..."
        )
    scores = video_scores((*data.video_and_label(index), probability) for index, probability in everything)
    return Validation(scores, summarise(scores), len(data), len(unreadable))


@torch.inference_mode()
def score_batches(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], config: TrainingConfig, world: World
) -> Iterator[tuple[int, float]]:
    """Yield (index of the sample, probability of FAKE in [0, 1]), sample by sample.

    A batch is RGB uint8 images [B, H, W, 3] or clips [B, T, H, W, 3], and the indices [B] of the samples. Raises
    NonFiniteLossError for a probability that is not finite.
    """
    model.eval()
    for images, indices in batches:
        if not len(indices):
            continue
        probabilities = forward(model, images, config, world).softmax(dim=1)[:, 1]
        if not probabilities.isfinite().all():
            raise NonFiniteLossError(None, "a validation score is not finite: these weights leave no checkpoint")
        yield from zip(indices.tolist(), probabilities.tolist(), strict=True)
