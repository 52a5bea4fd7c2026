"""Video augmentation (reference, section 5): each random choice is drawn once per clip and holds for all its frames."""

from collections.abc import Sequence

import cv2
import numpy as np

from common.images import resize_antialiased
from training.augment import random_look
from video_based.config import VideoConfig


def clip_frames(frames: int, duration: int, step: int, begin: int) -> np.ndarray:
    """The indices int64 [T] of the frames that make a clip: every `step`-th of `duration` frames from `begin` on.

    `frames` is the length of the track. If it ends before the clip does, it starts again from its first frame (loop
    padding).
    """
    return (begin + np.arange(0, duration, step)) % frames


def random_begin(frames: int, duration: int, random: np.random.Generator) -> int:
    """The first frame of a training clip: any from which the clip fits into the track, or else frame 0."""
    return int(random.integers(max(frames - duration, 0) + 1))


def central_begin(frames: int, duration: int) -> int:
    """The first frame of a validation clip, which is in the middle of the track."""
    return max(frames - duration, 0) // 2


def augment(crops: Sequence[np.ndarray], config: VideoConfig, random: np.random.Generator) -> np.ndarray:
    """An augmented clip: T square BGR uint8 crops [h, h, 3] -> RGB uint8 [T, input_size, input_size, 3].

    All crops are resized to one random side, and the same random square is cut from each. Then come the flip and, if
    the config asks for them, colour and JPEG.
    """
    side, size = int(random.integers(config.min_short_side, config.max_short_side + 1)), config.input_size
    x, y = random.integers(side - size + 1, size=2).tolist()
    look = random_look(random, config.color_and_jpeg)
    frames = (resize_antialiased(crop, side)[y : y + size, x : x + size] for crop in crops)
    return np.stack([cv2.cvtColor(look.apply(frame), cv2.COLOR_BGR2RGB) for frame in frames])
