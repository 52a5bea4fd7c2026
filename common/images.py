"""Read and write images by OpenCV, with exceptions instead of its None and False."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from common.errors import BadInputError

# PNG: training needs the same pixels, not the same bytes. These options halve the time to write and to read a crop. The
# files are as large as with compression level 1 alone. JPEG: the contract's quality.
OPTIONS = {
    ".png": [
        *(cv2.IMWRITE_PNG_COMPRESSION, 1),
        *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
        *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    ],
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
}


def read_image(path: Path) -> np.ndarray:
    """A BGR uint8 image [H, W, 3]; raises BadInputError if the file is missing or no image."""
    if not path.is_file():
        raise BadInputError(f"{path} is missing")
    return decode_image(np.fromfile(path, np.uint8), path)


def decode_image(content: np.ndarray, path: Path) -> np.ndarray:
    """Decode a file's bytes to a BGR uint8 image [H, W, 3]; raises BadInputError naming `path` if they are no image."""
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    if image is None:
        raise BadInputError(f"{path} is not an image")
    return image


def read_same_size(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read a frame, BGR uint8; raises BadInputError naming it if its shape is not its video's `shape` [H, W, 3]."""
    image = read_image(path)
    if image.shape != shape:
        raise BadInputError(f"{path} has another size than the video's first frame: {image.shape[:2]}, not {shape[:2]}")
    return image


def encode_image(image: np.ndarray, suffix: str) -> bytes:
    """BGR uint8 [H, W, 3] as the bytes of a `.png` or `.jpg` file."""
    return cv2.imencode(suffix, image, OPTIONS[suffix])[1].tobytes()


def write_image(path: Path, image: np.ndarray) -> None:
    """Write BGR uint8 [H, W, 3] as PNG or JPEG by the suffix of `path`."""
    path.write_bytes(encode_image(image, path.suffix))


def resize(crop: np.ndarray, size: int) -> np.ndarray:
    """A BGR crop [h, w, 3] -> RGB [size, size, 3], bilinear as at inference."""
    return cv2.cvtColor(cv2.resize(crop, (size, size), interpolation=cv2.INTER_LINEAR), cv2.COLOR_BGR2RGB)


def resize_antialiased(image: np.ndarray, side: int) -> np.ndarray:
    """An image uint8 [h, w, 3] -> [side, side, 3], read-only, by Pillow's bilinear filter.

    This filter averages pixels where it shrinks. Training and validation resize clips with it (contract, section 5).
    Inference does not.
    """
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
