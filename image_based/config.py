"""What an image training's YAML file holds beyond the shared keys."""

from dataclasses import dataclass

from training.config import TrainingConfig, require


@dataclass(frozen=True)
class ImageConfig(TrainingConfig):
    """`min_scale`: the smallest side of a random crop, as a share of the face crop's side.

    `augmentation`: the contract's, or `strong`, which adds to it what compressed crops of unknown origin need.
    """

    min_scale: float
    augmentation: str = "contract"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.augmentation in ("contract", "strong"), f"augmentation: {self.augmentation!r} is neither 'contract' nor 'strong'"
        )
