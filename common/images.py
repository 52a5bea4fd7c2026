"""Images on disk, read and written by OpenCV with errors instead of None and False."""

from pathlib import Path

import cv2
import numpy as np

from common.errors import BadInputError

# PNG: pixels, not bytes, matter to training, so the fastest level. JPEG: the contract's quality.
OPTIONS = {".png": [cv2.IMWRITE_PNG_COMPRESSION, 1], ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95]}


def read_image(path: Path) -> np.ndarray:
    """A BGR uint8 image [H, W, 3]; raises BadInputError if the file is missing or no image."""
    if not path.is_file():
        raise BadInputError(f"{path} is missing")
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
    if image is None:
        raise BadInputError(f"{path} is not an image")
    return image


def read_same_size(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """`read_image` of a frame that must have its video's shape [H, W, 3]; raises BadInputError naming one that has not."""
    image = read_image(path)
    if image.shape != shape:
        raise BadInputError(f"{path} has another size than the video's first frame: {image.shape[:2]}, not {shape[:2]}")
    return image


def write_image(path: Path, image: np.ndarray) -> None:
    """Write BGR uint8 [H, W, 3] as PNG or JPEG by the suffix of `path`; raises OSError if that fails."""
    if not cv2.imwrite(str(path), image, OPTIONS[path.suffix]):
        raise OSError(f"cannot write {path} (disk full?)")
