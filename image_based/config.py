"""What an image training's YAML file holds beyond the shared keys."""

from dataclasses import dataclass

from training.config import TrainingConfig, require

AUGMENTATIONS = ("contract", "strong", "sharp")


@dataclass(frozen=True)
class ImageConfig(TrainingConfig):
    """`min_scale`: the smallest side of a random crop, as a share of the face crop's side.

    `augmentation`: the contract's; `strong`, which adds to it what compressed crops of unknown origin need; or `sharp`,
    which leaves out of both what blurs or covers fine traces.
    """

    min_scale: float
    augmentation: str = "contract"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.augmentation in AUGMENTATIONS,
            f"augmentation: {self.augmentation!r} is none of {', '.join(AUGMENTATIONS)}",
        )
