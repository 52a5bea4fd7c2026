"""The config keys of image trainings, beyond those that all trainings share."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat
from pydantic.dataclasses import dataclass

from training.config import STRICT, Shares, TrainingConfig, require, shares_of
from training.ranges import Ranges

Fraction = Annotated[float, Field(ge=0, le=1)]
Interval = Annotated[list[NonNegativeFloat], Field(min_length=2, max_length=2)]


@dataclass(frozen=True, config=STRICT)
class Blending:
    """Fakes made from real faces (training/blend.py), each in a pair with its real face.

    `share`: the fraction of all pairs that are made so. `lists`: lists of real crops, with their relative weights.
    `landmarks`: the table of these crops' landmarks. `rebuilds`: the fraction of these pairs that look like a one-shot
    swapper's work (training/rebuild.py). Four of five of them use the faces in the folder `rebuilt`, which
    shipped/autoencoder.py fills; without it all are only resampled. The other keys are those of
    `training.ranges.Ranges`.
    """

    share: Annotated[float, Field(ge=0, lt=1)]
    lists: Shares
    landmarks: str
    rebuilds: Fraction = 0.0
    rebuilt: str | None = None
    shift: Fraction = Ranges().shift
    scale: Fraction = Ranges().scale
    elastic: Interval = Field(default_factory=lambda: list(Ranges().elastic))
    blur: Interval = Field(default_factory=lambda: list(Ranges().blur))
    ratios: Annotated[list[Fraction], Field(min_length=1)] = Field(default_factory=lambda: list(Ranges().ratios))
    poisson: Fraction = Ranges().poisson

    def __post_init__(self) -> None:
        require(self.elastic == sorted(self.elastic), "blend.elastic is not [least, most]")
        require(self.blur == sorted(self.blur), "blend.blur is not [least, most]")

    @property
    def ranges(self) -> Ranges:
        """The ranges from which blends are drawn."""
        elastic, blur = (self.elastic[0], self.elastic[1]), (self.blur[0], self.blur[1])
        return Ranges(self.shift, self.scale, elastic, blur, tuple(self.ratios), self.poisson)


@dataclass(frozen=True, config=STRICT)
class ImageConfig(TrainingConfig):
    """`min_scale`: the smallest side of a random crop, as a fraction of the face crop's side.

    `augmentation`: `contract` is the reference's. `strong` adds what compressed crops of unknown origin need. `sharp`
    is `strong` without what blurs or covers fine traces. `varied` is for crops from several data sets. `platform`: the
    fraction of the samples that are then degraded as a platform does (training/platform.py). `blend`: self-blended
    pairs in addition to those of `train_list`.
    """

    min_scale: Annotated[float, Field(gt=0, le=1)]
    augmentation: Literal["contract", "strong", "sharp", "varied"] = "contract"
    platform: Fraction = 0.0
    blend: Blending | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.blend is None or self.together == 2, "blend needs together: 2")

    @property
    def blend_lists(self) -> dict[str, float]:
        """The lists of crops to blend, and the share of the samples that comes from each; empty without blending."""
        if self.blend is None or not self.blend.share:
            return {}
        return {name: share * self.blend.share for name, share in shares_of(self.blend.lists).items()}

    @property
    def train_lists(self) -> dict[str, float]:
        """The lists of training samples, and the share of the samples that comes from each, after blending's shares."""
        left = 1 - sum(self.blend_lists.values())
        return {name: share * left for name, share in super().train_lists.items()}
