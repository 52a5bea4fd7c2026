"""`--show-batch`: draw what the network sees in its first step, after augmentation, before mixup and normalisation."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from common.errors import BadInputError
from common.images import OPTIONS
from common.sheet import below, beside, text, write_sheet
from training.config import TrainingConfig
from training.loading import TrainingSet
from training.sampler import TrainingSampler

COLUMNS = 4  # images in a row; a clip has a row of its own
CLIP_FRAMES = 8  # how many evenly spaced frames of a clip are shown
SMALLEST = 160  # least width of a caption in pixels


def show_batch(data: TrainingSet, config: TrainingConfig, output: Path) -> int:
    """Draw rank 0's first batch with labels and names; return 0. Raises BadInputError for an unknown suffix."""
    if output.suffix not in OPTIONS:
        raise BadInputError(f"--show-batch {output}: the suffix must be one of {', '.join(OPTIONS)}")
    steps, world = config.lr_scheduler.max_iter, config.reference_world_size
    order = TrainingSampler(data.parts, steps, config.batch_size, range(1), world, together=config.together)
    cells = [cell(*data[position, index][:2], data.sample_name(index)) for position, index in order.of_step(0)]
    columns = COLUMNS if cells[0].shape[0] * 2 > cells[0].shape[1] else 1
    write_sheet(output, below([beside(cells[start : start + columns]) for start in range(0, len(cells), columns)]))
    print(f"{len(cells)} samples as rank 0 sees them in step 0: {output}")
    return 0


def cell(sample: Tensor, label: int, name: str) -> np.ndarray:
    """An image, or frames of a clip side by side, above its label and name."""
    frames = sample[None] if sample.ndim == 3 else sample
    shown = torch.linspace(0, len(frames) - 1, min(CLIP_FRAMES, len(frames))).round().long()
    row = beside([cv2.cvtColor(frames[at].numpy(), cv2.COLOR_RGB2BGR) for at in shown])
    return below([row, text(f"{('REAL', 'FAKE')[label]} {name}", max(row.shape[1], SMALLEST))])
