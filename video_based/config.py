"""What a video training's YAML file holds beyond the shared keys."""

from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from training.config import STRICT, TrainingConfig, require


@dataclass(frozen=True, config=STRICT)
class VideoConfig(TrainingConfig):
    """`input_size` is the side of a training clip's crop, `val_size` that of a whole clip in validation."""

    val_size: PositiveInt
    sample_duration: PositiveInt  # consecutive frames that a clip spans
    sample_step: PositiveInt  # a clip consists of every sample_step-th of them
    min_short_side: PositiveInt  # before it is cropped, a clip is resized to a random side between these, in pixels
    max_short_side: PositiveInt
    color_and_jpeg: bool  # brightness-contrast and JPEG augmentation

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.sample_step <= self.sample_duration, "sample_step must be at most sample_duration")
        sides = self.input_size <= self.min_short_side <= self.max_short_side
        require(sides, "min_short_side must be at least input_size, at most max_short_side")
