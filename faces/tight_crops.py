"""Tight crops, as in data sets of precropped faces: cut from a picture of a whole head, and the landmarks in one."""

from pathlib import Path

import cv2
import numpy as np

from common.images import read_image
from faces.crops import aligned_square, bounding_square, cut
from faces.detector import FaceDetector

TIGHT = 0.65  # side of a tight crop over the side of the reference's crop
MIN_FACE = 0.5  # least score of a face


def tight_face(detector: FaceDetector, image: np.ndarray) -> np.ndarray | None:
    """The tight crop of the best face in an image, BGR uint8 [H, W, 3] -> [size, size, 3], a view; None without a face.

    It is the middle of the crop that the reference would cut.
    """
    height, width = image.shape[:2]
    (boxes,) = detector.detect([image])
    if not len(boxes) or boxes[0, 4] < MIN_FACE:
        return None
    box = boxes[0, :4].astype(int).tolist()
    side = max(int(bounding_square(box, width, height).size * TIGHT), 1)
    return cut(image, aligned_square(box, side, width, height))


def find_landmarks(detector: FaceDetector, path: Path) -> np.ndarray | None:
    """The landmarks of the face in the middle of a tight crop, float32 [5, 2] in its pixels; None without a face.

    The detector needs some room around a face, so the crop is mirrored at its borders first. Raises BadInputError if
    the file is not an image.
    """
    image = read_image(path)
    height, width = image.shape[:2]
    border = max(height, width) // 2
    wide = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REFLECT_101)
    boxes, landmarks = detector.detect_with_landmarks([wide])[0]
    centres = (boxes[:, :2] + boxes[:, 2:4]) / 2 - border
    distance = np.abs(centres - np.array([width, height]) / 2).sum(axis=1) / max(height, width)
    preference = np.where(boxes[:, 4] < MIN_FACE, -np.inf, boxes[:, 4] - distance)
    if not len(boxes) or np.isinf(preference.max()):
        return None
    points: np.ndarray = landmarks[int(preference.argmax())] - border
    inside = (points > 0).all() and (points < (width, height)).all()
    return points if inside else None
