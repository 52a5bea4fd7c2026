"""Put images, BGR uint8 [H, W, 3], together into one sheet for a person to look at."""

from pathlib import Path

import cv2
import numpy as np

from common.files import atomic_file
from common.images import write_image

GAP, LINE = 8, 22  # pixels: space between images, height of a line of text
WHITE, BACKGROUND = (240, 240, 240), 32


def text(line: str, width: int) -> np.ndarray:
    """A line of text as an image [LINE, width, 3]. Characters that OpenCV's font lacks (all but ASCII) become `?`."""
    image = np.full((LINE, width, 3), BACKGROUND, np.uint8)
    readable = line.encode("ascii", "replace").decode()
    cv2.putText(image, readable, (0, LINE - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.5, WHITE, 1, cv2.LINE_AA)
    return image


def beside(images: list[np.ndarray]) -> np.ndarray:
    """Put images [H, W, 3] of any sizes into a row, aligned at the top."""
    height = max(image.shape[0] for image in images)
    width = sum(image.shape[1] + GAP for image in images) - GAP
    row = np.full((height, width, 3), BACKGROUND, np.uint8)
    left = 0
    for image in images:
        row[: image.shape[0], left : left + image.shape[1]] = image
        left += image.shape[1] + GAP
    return row


def below(images: list[np.ndarray]) -> np.ndarray:
    """Put images [H, W, 3] of any sizes into a column, aligned on the left."""
    return beside([image.swapaxes(0, 1) for image in images]).swapaxes(0, 1)


def write_sheet(path: Path, sheet: np.ndarray) -> None:
    """Write a sheet [H, W, 3] with a margin around it, atomically, as PNG or JPEG by the suffix of `path`."""
    framed = cv2.copyMakeBorder(sheet, GAP, GAP, GAP, GAP, cv2.BORDER_CONSTANT, value=(BACKGROUND,) * 3)
    with atomic_file(path) as temporary:
        write_image(temporary, framed)
