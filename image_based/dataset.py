"""Single crops of face tracks, for training (augmented, endless) and validation (whole, once each)."""

import logging
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from common.errors import BadInputError
from image_based.config import ImageConfig
from image_based.transforms import augmentation
from training.face_tracks import FaceTracks
from training.inputs import random_numbers_of, resize, to_input

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
        """A sample's track, and which of the track's frames it is."""
        number = int(self.track_of[index])
        return number, index - int(self.first_of[number])


class TrainingCrops(Dataset[tuple[Tensor, int, list[str]]]):
    """Takes (position, sample) of the training order; gives the augmented crop, its label, and the names of unreadable crops.

    Augmentation depends on the config's seed and the position alone. An unreadable crop is replaced by the nearest readable one
    of its track; BadInputError ends the training where there is none.
    """

    def __init__(self, config: ImageConfig) -> None:
        self.crops = FaceCrops(Path(config.train_root), Path(config.train_list))
        self.augment = augmentation(config)
        self.seed = config.seed

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
        image = torch.from_numpy(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB)).permute(2, 0, 1)
        with random_numbers_of(self.seed, position):
            return self.augment(image), self.crops.tracks[number].label, bad


class ValidationCrops(Dataset[tuple[Tensor, int] | None]):
    """Whole crops at the input size, and their index; None, named in the log, for an unreadable one."""

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
        return to_input(torch.from_numpy(image).permute(2, 0, 1), self.config.color, self.config.mean, self.config.std), index

    def video_and_label(self, index: int) -> tuple[str, int]:
        """The video and the label (1 FAKE) of a sample."""
        track = self.crops.tracks[self.crops.locate(index)[0]]
        return track.video, track.label
