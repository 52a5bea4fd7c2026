"""Cut a video where its picture changes at once, by histograms of colours. Dissolves are not found.

A library (PySceneDetect) would decode with its own reader, so its frame numbers would not be ours in files that hide
frames.
"""

from collections.abc import Iterable

import cv2
import numpy as np

from faces.video import Shown

SMALL = (64, 36)
LEAST_CHANGE = 0.3  # of the colours, in [0, 1]: within a shot, two frames of the sample clips differ by .15 at most
STANDS_OUT = 2.5  # how many times as much as the frames beside it: a pan changes each frame a little
SHORTEST = 5  # frames


def colours(image: np.ndarray) -> np.ndarray:
    """The histogram of 4 x 4 x 4 colours of each quarter of a BGR image [H, W, 3]: float32 [4, 64], rows with sum 1."""
    small = np.right_shift(cv2.resize(image, SMALL, interpolation=cv2.INTER_AREA), 6)
    codes = small[:, :, 0] * 16 + small[:, :, 1] * 4 + small[:, :, 2]
    width, height = SMALL[0] // 2, SMALL[1] // 2
    quarters = [codes[y : y + height, x : x + width] for y in (0, height) for x in (0, width)]
    return np.stack([np.bincount(part.ravel(), minlength=64) for part in quarters]).astype(np.float32) / (
        width * height
    )


def find_shots(frames: Iterable[Shown]) -> list[range]:
    """The frame numbers of each shot of a video, in order; together they are all its frames."""
    changes, before = [], None
    for frame in frames:
        now = colours(frame.image)
        changes.append(0.0 if before is None else float(np.abs(now - before).sum(axis=1).mean()) / 2)
        before = now
    cuts = [0]
    for at, change in enumerate(changes):
        beside = [*changes[max(at - 2, 1) : at], *changes[at + 1 : at + 3]]
        if change > LEAST_CHANGE and change > STANDS_OUT * max(beside, default=0.0) and at - cuts[-1] >= SHORTEST:
            cuts.append(at)
    return [range(start, end) for start, end in zip(cuts, [*cuts[1:], len(changes)], strict=True)]
