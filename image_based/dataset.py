"""Single crops of face tracks, for training (augmented, endless) and validation (whole, once each)."""

import logging
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from common.errors import BadInputError
from common.pack import read_face
from image_based.config import ImageConfig
from image_based.transforms import augmentation, resize, to_input
from training.frame_lists import FaceTrack, read_list

log = logging.getLogger(__name__)
SUBSTITUTES = 10  # how many following crops are tried in place of an unreadable one


class FaceCrops:
    """The crops that a list names, one after another: sample i is one frame of one track."""

    def __init__(self, root: Path, list_file: Path) -> None:
        self.root = root
        self.tracks = read_list(list_file)
        counts = [track.count for track in self.tracks]
        self.track_of = np.repeat(np.arange(len(counts)), counts)
        self.first_of = np.cumsum([0, *counts])

    def __len__(self) -> int:
        return len(self.track_of)

    def locate(self, index: int) -> tuple[FaceTrack, str]:
        """A sample's track, and its crop's path relative to the root."""
        number = self.track_of[index]
        track = self.tracks[number]
        return track, track.frame(index - int(self.first_of[number]))

    def read(self, index: int) -> np.ndarray:
        """A sample's crop, BGR uint8 [h, w, 3]; raises BadInputError if it cannot be read."""
        return read_face(self.root / self.locate(index)[1])


class TrainingCrops(Dataset[tuple[Tensor, int, int]]):
    """Takes (position, sample) of the training order; gives the augmented crop, its label, and whether it is a substitute.

    Augmentation depends on the config's seed and the position alone. An unreadable crop is named in the log and replaced by
    the next readable one of the list; where ten in a row are unreadable the root is wrong, and BadInputError ends the training.
    """

    def __init__(self, config: ImageConfig) -> None:
        self.crops = FaceCrops(Path(config.train_root), Path(config.train_list))
        self.augment = augmentation(config)
        self.seed = config.seed

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, int]:
        position, index = key
        crop, found = self.read_nearest(index)
        image = torch.from_numpy(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB)).permute(2, 0, 1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(np.random.SeedSequence([self.seed, position]).generate_state(1)[0]))
            return self.augment(image), self.crops.locate(found)[0].label, int(found != index)

    def read_nearest(self, index: int) -> tuple[np.ndarray, int]:
        """The crop of this sample, or of the next one that can be read, and which it is."""
        for step in range(SUBSTITUTES):
            candidate = (index + step) % len(self.crops)
            try:
                return self.crops.read(candidate), candidate
            except BadInputError as error:
                log.warning("%s; the next one takes its place", error)
        raise BadInputError(
            f"{SUBSTITUTES} crops in a row are unreadable, from {self.crops.locate(index)[1]} on, in {self.crops.root}"
        )


class ValidationCrops(Dataset[tuple[Tensor, int] | None]):
    """Whole crops at the input size, and their index; None, named in the log, for an unreadable one."""

    def __init__(self, config: ImageConfig, list_file: Path) -> None:
        self.crops = FaceCrops(Path(config.val_root), list_file)
        self.config = config

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> tuple[Tensor, int] | None:
        try:
            image = resize(self.crops.read(index), self.config.input_size)
        except BadInputError as error:
            log.warning("%s; validation goes on without it", error)
            return None
        return to_input(torch.from_numpy(image).permute(2, 0, 1), self.config.color, self.config.mean, self.config.std), index

    def video_and_label(self, index: int) -> tuple[str, int]:
        """The video and the label (1 FAKE) of a sample."""
        track, _ = self.crops.locate(index)
        return track.video, track.label
