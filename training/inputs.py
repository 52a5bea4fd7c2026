"""The one way from a face crop to a network's input, in training and at inference."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2


def to_input(images: Tensor, color: str, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """RGB uint8 [..., 3, H, W] -> float32, /255, in RGB or BGR order, minus mean, over std (given in that order)."""
    if color == "bgr":
        images = images.flip(-3)
    return v2.functional.normalize(images.float() / 255, list(mean), list(std))


def from_input(image: Tensor, color: str, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """What `to_input` made [3, H, W] -> BGR uint8 [H, W, 3]: the pixels again, for people."""
    pixels = image * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    if color == "rgb":
        pixels = pixels.flip(0)
    return (255 * pixels).round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()


def memory_format(inputs: Tensor) -> torch.memory_format:
    """Channels last, for images [B, 3, H, W] or clips [B, 3, T, H, W]."""
    return torch.channels_last if inputs.ndim == 4 else torch.channels_last_3d


def resize(crop: np.ndarray, size: int) -> np.ndarray:
    """A BGR crop [h, w, 3] -> RGB [size, size, 3], bilinear as at inference."""
    return cv2.cvtColor(cv2.resize(crop, (size, size), interpolation=cv2.INTER_LINEAR), cv2.COLOR_BGR2RGB)


@contextmanager
def random_numbers_of(seed: int, position: int) -> Iterator[None]:
    """Torch's random numbers of one sample: by the config's seed and the sample's position in the training order alone.

    So a resumed run, or one on other processes, sees what an uninterrupted one would; dropout's own numbers are left alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence([seed, position]).generate_state(1)[0]))
        yield
