"""Video augmentation of the contract (section 5): every choice is drawn once a clip and holds for all its frames.

Random choices come from torch's generator, which the data set seeds per sample.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from training.inputs import to_input
from video_based.config import VideoConfig


def clip_frames(frames: int, duration: int, step: int, begin: int) -> np.ndarray:
    """Which of a track's `frames`, counted from 0, make a clip: every step-th of `duration` from `begin` on.

    A track shorter than that begins again (loop padding).
    """
    return (begin + np.arange(0, duration, step)) % frames


def random_begin(frames: int, duration: int) -> int:
    """Where a training clip begins: anywhere that it fits."""
    return int(torch.randint(max(frames - duration, 0) + 1, ()))


def central_begin(frames: int, duration: int) -> int:
    """Where a validation clip begins."""
    return max(frames - duration, 0) // 2


def random_short_side(config: VideoConfig) -> int:
    """The side that a training clip is resized to, in pixels."""
    return int(torch.randint(config.min_short_side, config.max_short_side + 1, ()))


def augmentation(config: VideoConfig) -> Callable[[Tensor], Tensor]:
    """RGB uint8 [T, 3, s, s] -> float32 [3, T, input_size, input_size], normalised, in the config's colours."""
    more = [
        v2.RandomApply([v2.ColorJitter(brightness=0.25, contrast=0.1)], p=0.5),
        v2.RandomApply([v2.JPEG((50, 100))], p=0.2),
    ]
    return v2.Compose(
        [
            v2.RandomCrop(config.input_size),
            v2.RandomHorizontalFlip(0.5),
            *(more if config.color_and_jpeg else ()),
            partial(to_clip, config=config),
        ]
    )


def to_clip(frames: Tensor, config: VideoConfig) -> Tensor:
    """RGB uint8 [T, 3, H, W] -> the network's input [3, T, H, W]."""
    return to_input(frames, config.color, config.mean, config.std).transpose(0, 1).contiguous()
