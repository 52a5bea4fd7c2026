"""What an image training's YAML file holds beyond the shared keys."""

from dataclasses import dataclass

from training.config import TrainingConfig


@dataclass(frozen=True)
class ImageConfig(TrainingConfig):
    """`min_scale`: the smallest side of a random crop, as a share of the face crop's side."""

    min_scale: float
