"""Clips of face tracks: for training random and augmented, without end; for validation central, once each."""

import logging
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from common.errors import BadInputError
from common.images import resize_antialiased
from training.augment import randomness_of
from training.face_tracks import FaceTracks
from training.loading import TrainingSet, ValidationSet
from training.sampler import Part
from video_based.config import VideoConfig
from video_based.transforms import augment, central_begin, clip_frames, random_begin

log = logging.getLogger(__name__)


class TrainingClips(TrainingSet):
    """Augmented clips RGB uint8 [T, input_size, input_size, 3] by (position, track) of the training order.

    A clip's begin and its augmentation depend only on the config's seed and the position. The nearest readable crop of
    the track replaces an unreadable one. If there is none, BadInputError ends the training.
    """

    def __init__(self, config: VideoConfig) -> None:
        self.config = config
        self.tracks = FaceTracks(Path(config.train_root), *map(Path, config.train_lists))

    @property
    def parts(self) -> list[Part]:
        """For each list, in order: its number of tracks, and its share of the clips that are drawn."""
        return list(zip(self.tracks.sizes, self.config.train_lists.values(), strict=True))

    @property
    def labels(self) -> set[int]:
        """The labels that occur (1 FAKE)."""
        return self.tracks.labels

    def sample_name(self, index: int) -> str:
        """The pattern of a track's crops, relative to the faces' folder."""
        return self.tracks[index].pattern

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, list[str]]:
        position, number = key
        track, config = self.tracks[number], self.config
        random = randomness_of(config.seed, position)
        begin = random_begin(track.count, config.sample_duration, random)
        frames = clip_frames(track.count, config.sample_duration, config.sample_step, begin)
        read = [self.tracks.read_near(number, int(frame)) for frame in frames]
        clip = augment([crop for crop, _ in read], config, random)
        return torch.from_numpy(clip), track.label, [name for _, names in read for name in names]


class ValidationClips(ValidationSet):
    """The central clip of each track, RGB uint8 [T, val_size, val_size, 3], with its index.

    A clip with an unreadable crop is None, and is logged.
    """

    def __init__(self, config: VideoConfig, list_file: Path) -> None:
        self.config = config
        self.tracks = FaceTracks(Path(config.val_root), list_file)

    def __len__(self) -> int:
        return len(self.tracks)

    def __getitem__(self, index: int) -> tuple[Tensor, int] | None:
        count, config = self.tracks[index].count, self.config
        begin = central_begin(count, config.sample_duration)
        frames = clip_frames(count, config.sample_duration, config.sample_step, begin)
        try:
            crops = [self.tracks.read(index, int(frame)) for frame in frames]
        except BadInputError as error:
            log.warning("%s; validation goes on without it", error)
            return None
        images = [cv2.cvtColor(resize_antialiased(crop, config.val_size), cv2.COLOR_BGR2RGB) for crop in crops]
        return torch.from_numpy(np.stack(images)), index

    def video_and_label(self, index: int) -> tuple[str, int]:
        """A sample's video, `<part>/<video>`, and its label (1 FAKE)."""
        return self.tracks[index].video, self.tracks[index].label
