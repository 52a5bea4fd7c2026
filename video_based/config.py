"""The config keys of video trainings, beyond those that all trainings share."""

from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from training.config import STRICT, TrainingConfig, require


@dataclass(frozen=True, config=STRICT)
class VideoConfig(TrainingConfig):
    """`input_size` is the side of the crop from a training clip, `val_size` that of a whole clip in validation."""

    val_size: PositiveInt
    sample_duration: PositiveInt  # number of consecutive frames that a clip spans
    sample_step: PositiveInt  # a clip consists of every sample_step-th of these
    min_short_side: PositiveInt  # pixels: a clip is resized to a random side between these, then cropped
    max_short_side: PositiveInt
    color_and_jpeg: bool  # brightness-contrast and JPEG augmentation

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.sample_step <= self.sample_duration, "sample_step must be at most sample_duration")
        sides = self.input_size <= self.min_short_side <= self.max_short_side
        require(sides, "min_short_side must be at least input_size, at most max_short_side")
