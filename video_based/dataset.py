"""Clips of face tracks, for training (a random one, augmented, endless) and validation (the central one, once each)."""

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from common.errors import BadInputError
from training.face_tracks import FaceTracks
from training.inputs import random_numbers_of, resize
from video_based.config import VideoConfig
from video_based.transforms import augmentation, central_begin, clip_frames, random_begin, random_short_side, to_clip

log = logging.getLogger(__name__)


def stack(crops: list[np.ndarray], side: int) -> Tensor:
    """BGR crops -> RGB uint8 [T, 3, side, side]."""
    return torch.from_numpy(np.stack([resize(crop, side) for crop in crops])).permute(0, 3, 1, 2)


class TrainingClips(Dataset[tuple[Tensor, int, list[str]]]):
    """Takes (position, track) of the training order; gives a clip, its label, and the names of unreadable crops.

    Where the clip begins and its augmentation depend on the config's seed and the position alone. An unreadable crop is replaced
    by the nearest readable one of the track; BadInputError ends the training where there is none.
    """

    def __init__(self, config: VideoConfig) -> None:
        self.config = config
        self.tracks = FaceTracks(Path(config.train_root), Path(config.train_list))
        self.augment = augmentation(config)

    def __len__(self) -> int:
        return len(self.tracks)

    def sample_name(self, index: int) -> str:
        """The pattern of a track's crops, for messages."""
        return self.tracks[index].pattern

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, list[str]]:
        position, number = key
        track, config = self.tracks[number], self.config
        with random_numbers_of(config.seed, position):
            begin = random_begin(track.count, config.sample_duration)
            frames = clip_frames(track.count, config.sample_duration, config.sample_step, begin)
            read = [self.tracks.read_near(number, int(frame)) for frame in frames]
            clip = self.augment(stack([crop for crop, _ in read], random_short_side(config)))
        return clip, track.label, [name for _, names in read for name in names]


class ValidationClips(Dataset[tuple[Tensor, int] | None]):
    """The central clip of each track, whole, and its index; None, named in the log, where a crop of it is unreadable."""

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
        return to_clip(stack(crops, config.val_size), config), index

    def video_and_label(self, index: int) -> tuple[str, int]:
        """The video and the label (1 FAKE) of a sample."""
        return self.tracks[index].video, self.tracks[index].label
