"""Video augmentation (contract, section 5): each random choice is drawn once per clip and holds for all its frames."""

from collections.abc import Sequence

import cv2
import numpy as np

from common.images import resize_antialiased
from training.augment import random_look
from video_based.config import VideoConfig


def clip_frames(frames: int, duration: int, step: int, begin: int) -> np.ndarray:
    """Which of a track's `frames`, counted from 0, make a clip: every step-th of `duration` from `begin` on.

    Where the track ends before the clip does, it starts again from its first frame (loop padding).
    """
    return (begin + np.arange(0, duration, step)) % frames


def random_begin(frames: int, duration: int, random: np.random.Generator) -> int:
    """The first frame of a training clip: any frame from which the clip fits into the track."""
    return int(random.integers(max(frames - duration, 0) + 1))


def central_begin(frames: int, duration: int) -> int:
    """The first frame of a validation clip."""
    return max(frames - duration, 0) // 2


def augment(crops: Sequence[np.ndarray], config: VideoConfig, random: np.random.Generator) -> np.ndarray:
    """T square BGR uint8 crops -> RGB uint8 [T, input_size, input_size, 3].

    All crops are resized to one random side, and a square is cut from each at the same random place. Then come the flip
    and, if the config says so, colour and JPEG.
    """
    side, size = int(random.integers(config.min_short_side, config.max_short_side + 1)), config.input_size
    x, y = random.integers(side - size + 1, size=2).tolist()
    look = random_look(random, config.color_and_jpeg)
    frames = (resize_antialiased(crop, side)[y : y + size, x : x + size] for crop in crops)
    return np.stack([cv2.cvtColor(look.apply(frame), cv2.COLOR_BGR2RGB) for frame in frames])
