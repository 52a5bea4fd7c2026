"""`--show-batch`: draw what the network sees in its first step, after augmentation, before mixup and normalisation."""

import argparse
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

from common.errors import BadInputError
from common.images import OPTIONS
from common.sheet import below, beside, text, write_sheet
from training.config import Config, load_config
from training.loading import TrainingSet
from training.sampler import TrainingSampler

COLUMNS = 4  # images in a row; a clip has a row of its own
CLIP_FRAMES = 8  # a clip is shown by this many evenly spaced frames
CAPTION_WIDTH = 160  # least width of a caption in pixels


def show_batch(
    options: argparse.Namespace, config_type: type[Config], training_set: Callable[[Config], TrainingSet]
) -> int:
    """Draw the first batch of rank 0 with labels and names into the file --show-batch; return 0.

    Raises BadInputError for an unknown suffix, a wrong config or an unreadable list.
    """
    output = options.show_batch
    if output.suffix not in OPTIONS:
        raise BadInputError(f"--show-batch {output}: the suffix must be one of {', '.join(OPTIONS)}")
    config = load_config(options.config, config_type, options.set)
    data = training_set(config)
    steps, world = config.lr_scheduler.max_iter, config.reference_world_size
    order = TrainingSampler(data.parts, steps, config.batch_size, range(1), world, together=config.together)
    cells = [cell(*data[position, index][:2], data.sample_name(index)) for position, index in order.of_step(0)]
    columns = COLUMNS if cells[0].shape[0] * 2 > cells[0].shape[1] else 1
    write_sheet(output, below([beside(cells[start : start + columns]) for start in range(0, len(cells), columns)]))
    print(f"{len(cells)} samples as rank 0 sees them in step 0: {output}")
    return 0


def cell(sample: Tensor, label: int, name: str) -> np.ndarray:
    """An image [H, W, 3], or frames of a clip [T, H, W, 3] side by side, RGB uint8, above its label and name.

    The result is BGR uint8 [h, w, 3].
    """
    frames = sample[None] if sample.ndim == 3 else sample
    indices = torch.linspace(0, len(frames) - 1, min(CLIP_FRAMES, len(frames))).round().long()
    row = beside([cv2.cvtColor(frames[index].numpy(), cv2.COLOR_RGB2BGR) for index in indices])
    return below([row, text(f"{('REAL', 'FAKE')[label]} {name}", max(row.shape[1], CAPTION_WIDTH))])
