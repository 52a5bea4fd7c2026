"""Fakes for the demo: one face pasted onto another by landmarks, a warp, a feathered mask and Poisson blending.

The warp is a similarity that maps five landmarks of one face onto those of the other.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from faces.detector import FaceDetector

SMOOTHING = 2.0  # frames, standard deviation: keeps the pasted face steady over time


def landmarks(detector: FaceDetector, frames: Sequence[np.ndarray]) -> np.ndarray:
    """The five landmarks of the best face of each frame, smoothed over time, float32 [T, 5, 2].

    Raises ValueError if a frame shows no face.
    """
    found = []
    for number, frame in enumerate(frames, start=1):
        boxes, points = detector.detect_with_landmarks([frame])[0]
        if not len(boxes) or boxes[0, 4] < 0.5:
            raise ValueError(f"frame {number} shows no face")
        found.append(points[0])
    flat = np.stack(found).reshape(len(found), 10)
    return cv2.GaussianBlur(flat, (1, 0), sigmaX=0.1, sigmaY=SMOOTHING, borderType=cv2.BORDER_REPLICATE).reshape(
        -1, 5, 2
    )


def face_mask(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """An ellipse from the brows to the chin around landmarks [5, 2], as uint8 [height, width] of 0 and 255."""
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    down = mouth - eyes
    half_width, half_height = float(np.linalg.norm(points[1] - points[0])), 1.3 * float(np.linalg.norm(down))
    angle = float(np.degrees(np.arctan2(-down[0], down[1])))
    mask = np.zeros((height, width), np.uint8)
    centre = tuple(map(float, (eyes + mouth) / 2))
    cv2.ellipse(mask, (centre, (2 * half_width, 2 * half_height), angle), color=255, thickness=-1)
    mask[:2], mask[-2:], mask[:, :2], mask[:, -2:] = 0, 0, 0, 0  # Poisson blending needs a margin
    return mask


def swap_face(target: np.ndarray, points: np.ndarray, source: np.ndarray, source_points: np.ndarray) -> np.ndarray:
    """`target` with the face of `source`; both BGR uint8, landmarks [5, 2] in their own pixels."""
    height, width = target.shape[:2]
    warp, _ = cv2.estimateAffinePartial2D(source_points, points, method=cv2.LMEDS)
    warped = cv2.warpAffine(source, warp, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    mask = face_mask(points, height, width)
    x, y, box_width, box_height = cv2.boundingRect(mask)
    centre = (x + box_width // 2, y + box_height // 2)
    # A copy of the mask: OpenCV 5 writes into it.
    blended = cv2.seamlessClone(warped, target, mask.copy(), centre, cv2.NORMAL_CLONE)
    feather = cv2.GaussianBlur(mask, (0, 0), sigmaX=max(box_width / 20, 1)).astype(np.float32)[..., None] / 255
    return (blended * feather + target * (1 - feather)).round().astype(np.uint8)


def swap_clip(detector: FaceDetector, frames: Sequence[np.ndarray], sources: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Give each frame, BGR uint8 [H, W, 3], the face of the source with the same number. Sources start again.

    Raises ValueError if a frame or a source shows no face.
    """
    points, source_points = landmarks(detector, frames), landmarks(detector, sources)
    return [
        swap_face(frame, points[number], sources[number % len(sources)], source_points[number % len(sources)])
        for number, frame in enumerate(frames)
    ]
