"""Single crops of face tracks, for training (augmented, endless) and validation (whole, once each)."""

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.errors import BadInputError
from common.images import resize
from image_based.config import ImageConfig
from image_based.transforms import augment
from training.augment import randomness_of
from training.face_tracks import FaceTracks
from training.loading import TrainingSet, ValidationSet

log = logging.getLogger(__name__)


class FaceCrops:
    """The crops that a list names, one after another: sample i is one frame of one track."""

    def __init__(self, root: Path, list_file: Path) -> None:
        self.tracks = FaceTracks(root, list_file)
        counts = [track.count for track in self.tracks.tracks]
        self.track_of = np.repeat(np.arange(len(counts)), counts)
        self.first_of = np.cumsum([0, *counts])

    def __len__(self) -> int:
        return len(self.track_of)

    def locate(self, index: int) -> tuple[int, int]:
        """The number of a sample's track, and the number of its frame in that track."""
        number = int(self.track_of[index])
        return number, index - int(self.first_of[number])


class TrainingCrops(TrainingSet):
    """Augmented crops by (position, sample) of the training order: RGB uint8 [H, W, 3], label, unreadable crops' names.

    Augmentation depends only on the config's seed and the position. The nearest readable crop of its track replaces an
    unreadable one. If there is none, BadInputError ends the training.
    """

    def __init__(self, config: ImageConfig) -> None:
        self.crops = FaceCrops(Path(config.train_root), Path(config.train_list))
        self.config = config

    def __len__(self) -> int:
        return len(self.crops)

    def sample_name(self, index: int) -> str:
        """The path of a sample's crop, for messages."""
        number, frame = self.crops.locate(index)
        return self.crops.tracks[number].frame(frame)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, list[str]]:
        position, index = key
        number, frame = self.crops.locate(index)
        crop, bad = self.crops.tracks.read_near(number, frame)
        image = augment(crop, self.config, randomness_of(self.config.seed, position))
        return torch.from_numpy(image), self.crops.tracks[number].label, bad


class ValidationCrops(ValidationSet):
    """Whole crops at the input size, RGB uint8 [H, W, 3], with their index, or None for an unreadable one.

    The log names the unreadable crops.
    """

    def __init__(self, config: ImageConfig, list_file: Path) -> None:
        self.crops = FaceCrops(Path(config.val_root), list_file)
        self.config = config

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> tuple[Tensor, int] | None:
        try:
            image = resize(self.crops.tracks.read(*self.crops.locate(index)), self.config.input_size)
        except BadInputError as error:
            log.warning("%s; validation goes on without it", error)
            return None
        return torch.from_numpy(image), index

    def video_and_label(self, index: int) -> tuple[str, int]:
        """The video and the label (1 FAKE) of a sample."""
        track = self.crops.tracks[self.crops.locate(index)[0]]
        return track.video, track.label
