"""What a platform does to what is uploaded: another size, H.264, JPEG."""

import cv2
import numpy as np

from common.h264 import encode_h264
from training.augment import compress

CRF = (18, 40)
FRAMES = 2  # of the still clip: the last one is predicted from the first


def as_uploaded(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """BGR uint8 [H, W, 3], shrunk, in a still clip as H.264 at a crf of 18 to 40, then enlarged again.

    Half of the time it is JPEG afterwards. Which steps are taken does not depend on the image, so both of a pair are
    degraded alike.
    """
    height, width = image.shape[:2]
    scale = random.uniform(0.4, 1)
    size = (max(round(width * scale / 2) * 2, 2), max(round(height * scale / 2) * 2, 2))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    decoded = encode_h264([small] * FRAMES, int(random.integers(CRF[0], CRF[1] + 1)))[-1]
    up = cv2.INTER_LINEAR if random.random() < 0.5 else cv2.INTER_CUBIC
    image = cv2.resize(decoded, (width, height), interpolation=up)
    return compress(image, random) if random.random() < 0.5 else image
