"""Tight crops, as DFDC's ready-made ones: cut from a picture of a whole head, and the landmarks of the face in one."""

from pathlib import Path

import cv2
import numpy as np

from common.images import read_image
from faces.crops import aligned_square, bounding_square, cut
from faces.detector import FaceDetector

TIGHT = 0.65  # side of the crops over the side of the contract's
MIN_FACE = 0.5  # least score of a face


def tight_face(detector: FaceDetector, image: np.ndarray) -> np.ndarray | None:
    """The square around the best face of an image [H, W, 3], the middle of the contract's crop; None without a face."""
    height, width = image.shape[:2]
    (boxes,) = detector.detect([image])
    if not len(boxes) or boxes[0, 4] < MIN_FACE:
        return None
    box = boxes[0, :4].astype(int).tolist()
    side = max(int(bounding_square(box, width, height).size * TIGHT), 1)
    return cut(image, aligned_square(box, side, width, height))


def landmarks_of(detector: FaceDetector, path: Path) -> np.ndarray | None:
    """The landmarks float32 [5, 2] of the face in the middle of a tight crop, in its pixels; None if there is none.

    The detector needs some room around a face, so the crop is mirrored outwards first.
    """
    image = read_image(path)
    height, width = image.shape[:2]
    border = max(height, width) // 2
    wide = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REFLECT_101)
    boxes, landmarks = detector.detect_with_landmarks([wide])[0]
    centres = (boxes[:, :2] + boxes[:, 2:4]) / 2 - border
    far = np.abs(centres - np.array([width, height]) / 2).sum(axis=1) / max(height, width)
    sure = np.where(boxes[:, 4] < MIN_FACE, -np.inf, boxes[:, 4] - far)
    if not len(boxes) or np.isinf(sure.max()):
        return None
    points: np.ndarray = landmarks[int(sure.argmax())] - border
    inside = (points > 0).all() and (points < (width, height)).all()
    return points if inside else None
