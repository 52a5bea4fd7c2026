"""What an image training's YAML file holds beyond the shared keys."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from training.config import STRICT, TrainingConfig


@dataclass(frozen=True, config=STRICT)
class ImageConfig(TrainingConfig):
    """`min_scale`: the smallest side of a random crop, as a fraction of the face crop's side.

    `augmentation`: `contract`; or `strong`, which adds what compressed crops of unknown origin need; or `sharp`, which
    is `strong` without what blurs or covers fine traces.
    """

    min_scale: Annotated[float, Field(gt=0, le=1)]
    augmentation: Literal["contract", "strong", "sharp"] = "contract"
