"""What a video training's YAML file holds beyond the shared keys."""

from dataclasses import dataclass

from training.config import TrainingConfig, require


@dataclass(frozen=True)
class VideoConfig(TrainingConfig):
    """`input_size` is the side of a training clip's crop, `val_size` that of a whole clip in validation."""

    val_size: int
    sample_duration: int  # consecutive frames that a clip spans
    sample_step: int  # every so many of them is seen
    min_short_side: int  # pixels that a clip is resized to before it is cropped, drawn between these
    max_short_side: int
    color_and_jpeg: bool  # brightness-contrast and JPEG augmentation

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.sample_step <= self.sample_duration, "sample_step must be at least 1, at most sample_duration")
        sides = self.input_size <= self.min_short_side <= self.max_short_side
        require(sides, "min_short_side must be at least input_size, at most max_short_side")
