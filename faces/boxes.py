"""Face boxes: their IoU and their text files (reference, sections 0 (the text files) and 2 (the IoU)).

A box is [x1, y1, x2, y2] in pixels of the original frame, x to the right, y down. A detection adds a score in [0, 1].
"""

import re

import numpy as np

from common.errors import BadInputError

TRACKING_SCORE = 0.8  # tracking uses the boxes with at least this score, from the detector or from text files
_LINE = re.compile(r"(-?\d+) (-?\d+) (-?\d+) (-?\d+) (\d(?:\.\d+)?(?:e-?\d+)?) ?")


def iou_plus_one(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of a box [4] with others [N, 4] -> float [N], in [0, 1].

    Both corner pixels count (+1 on the length of each side). The union is at least 1.
    """
    left_top = np.maximum(box[:2], others[:, :2])
    right_bottom = np.minimum(box[2:], others[:, 2:])
    intersection = np.clip(right_bottom - left_top + 1, 0, None).prod(axis=1)
    union = (box[2:] - box[:2] + 1).prod() + (others[:, 2:] - others[:, :2] + 1).prod(axis=1) - intersection
    return intersection / np.maximum(union, 1)


def tracking_boxes(detections: np.ndarray) -> np.ndarray:
    """The detections [N, 5] with a score of at least 0.8, corners truncated toward zero -> float64 [M, 5], in order."""
    kept = detections[detections[:, 4] >= TRACKING_SCORE].astype(np.float64)
    kept[:, :4] = np.trunc(kept[:, :4])
    return kept


def format_boxes(detections: np.ndarray) -> str:
    """The text file of a frame's detections, float32 [N, 5]: their number, then a line `x y w h score ` for each."""
    lines = [str(len(detections))]
    for x1, y1, x2, y2, score in detections:
        x, y = int(x1), int(y1)
        lines.append(f"{x} {y} {int(x2) - x} {int(y2) - y} {np.float32(score)!s} ")
    return "\n".join(lines) + "\n"


def parse_boxes(text: str) -> np.ndarray:
    """Read a frame's text file back -> float32 [N, 5], with whole corners.

    Raises BadInputError, which names the wrong line.
    """
    lines = text.splitlines()
    if not lines or not lines[0].strip().isdigit():
        raise BadInputError("line 1 is not the number of boxes")
    if len(lines) - 1 != int(lines[0]):
        raise BadInputError(f"line 1 says {lines[0].strip()} boxes, but {len(lines) - 1} follow")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        match = _LINE.fullmatch(line)
        if not match:
            raise BadInputError(f"line {number} is not 'x y w h score': {line[:60]!r}")
        x, y, width, height = (int(value) for value in match.groups()[:4])
        rows.append((x, y, x + width, y + height, float(match[5])))
    return np.array(rows, dtype=np.float32).reshape(-1, 5)
