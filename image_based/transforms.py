"""Image augmentation of the contract (section 5).

Random choices come from torch's generator, which the data set seeds per sample.
"""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from image_based.config import ImageConfig
from training.inputs import to_input


class MotionBlur(nn.Module):
    """Blur uint8 [3, H, W] along a random line through a kernel of side 3, 5 or 7 (OpenCV: torchvision has no counterpart)."""

    def forward(self, image: Tensor) -> Tensor:
        side = 3 + 2 * int(torch.randint(3, ()))
        kernel = self.line(side, *torch.randperm(side * side)[:2].tolist())
        blurred = cv2.filter2D(image.permute(1, 2, 0).numpy(), -1, kernel)
        return torch.from_numpy(blurred).permute(2, 0, 1)

    @staticmethod
    def line(side: int, start: int, end: int) -> np.ndarray:
        """A kernel [side, side] of sum 1 with a line between two of its cells, given by their numbers."""
        kernel = np.zeros((side, side), np.uint8)
        cv2.line(kernel, (start % side, start // side), (end % side, end // side), color=1)
        return kernel.astype(np.float32) / kernel.sum()


def augmentation(config: ImageConfig) -> Callable[[Tensor], Tensor]:
    """Training: RGB uint8 [3, h, w] of any size -> float32 [3, input_size, input_size], normalised, in the config's colours."""
    return v2.Compose(
        [
            v2.RandomResizedCrop(config.input_size, scale=(config.min_scale**2, 1.0), ratio=(1.0, 1.0), antialias=False),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomApply([v2.ColorJitter(brightness=0.25, contrast=0.1)], p=0.5),
            v2.RandomApply([v2.JPEG((50, 100))], p=0.2),
            v2.RandomApply([MotionBlur()], p=0.5),
            partial(to_input, color=config.color, mean=config.mean, std=config.std),
        ]
    )
