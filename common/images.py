"""Read, write and resize images. Where OpenCV returns None for an error, these functions raise exceptions."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from common.errors import BadInputError

# PNG: these options halve the time to write and to read a crop, and the files are as large as with compression level 1
# alone. JPEG: the quality is the reference's.
OPTIONS = {
    ".png": [
        *(cv2.IMWRITE_PNG_COMPRESSION, 1),
        *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
        *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    ],
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
}


def read_image(path: Path) -> np.ndarray:
    """Read a file as BGR uint8 [H, W, 3]. Raises BadInputError if it is missing or not an image."""
    if not path.is_file():
        raise BadInputError(f"{path} is missing")
    return decode_image(np.fromfile(path, np.uint8), path)


def decode_image(content: np.ndarray, path: Path) -> np.ndarray:
    """Decode a file's bytes, uint8 [N], to BGR uint8 [H, W, 3].

    Raises BadInputError, which names `path`, if they are not an image.
    """
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    if image is None:
        raise BadInputError(f"{path} is not an image")
    return image


def read_same_size(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read a frame as BGR uint8 [H, W, 3]. Raises BadInputError unless it has the `shape` of its video's frames."""
    image = read_image(path)
    if image.shape != shape:
        raise BadInputError(f"{path} has another size than the video's first frame: {image.shape[:2]}, not {shape[:2]}")
    return image


def encode_image(image: np.ndarray, suffix: str) -> bytes:
    """The bytes of a file with the suffix `.png` or `.jpg` for an image, BGR uint8 [H, W, 3]."""
    return cv2.imencode(suffix, image, OPTIONS[suffix])[1].tobytes()


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an image, BGR uint8 [H, W, 3], as PNG or JPEG by the suffix of `path`."""
    path.write_bytes(encode_image(image, path.suffix))


def resize(crop: np.ndarray, size: int) -> np.ndarray:
    """Resize a crop, BGR uint8 [h, w, 3] -> RGB uint8 [size, size, 3], by the bilinear filter of inference."""
    return cv2.cvtColor(cv2.resize(crop, (size, size), interpolation=cv2.INTER_LINEAR), cv2.COLOR_BGR2RGB)


def resize_antialiased(image: np.ndarray, side: int) -> np.ndarray:
    """Resize an image, uint8 [h, w, 3] -> uint8 [side, side, 3] (read-only), by Pillow's bilinear filter.

    This filter averages pixels where it shrinks. Training and validation resize clips with it (reference, section 5),
    inference does not.
    """
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
