"""Cut a video into shots where its picture changes at once, by histograms of colours. Dissolves are not found.

PySceneDetect's detectors would take our frames too, but would put the cuts elsewhere.
"""

from collections.abc import Iterable

import cv2
import numpy as np

from faces.video import Frame

SMALL = (64, 36)
LEAST_CHANGE = 0.3  # of the colours, in [0, 1]: frames within a shot of the sample clips differ by 0.15 at most
STANDS_OUT = 2.5  # times the change of the frames beside it: a pan changes every frame a little
SHORTEST = 5  # frames


def colours(image: np.ndarray) -> np.ndarray:
    """The histogram of 4 x 4 x 4 colours of each quarter of an image, BGR uint8 [H, W, 3] -> float32 [4, 64].

    Each row sums to 1.
    """
    small = np.right_shift(cv2.resize(image, SMALL, interpolation=cv2.INTER_AREA), 6)
    codes = small[:, :, 0] * 16 + small[:, :, 1] * 4 + small[:, :, 2]
    width, height = SMALL[0] // 2, SMALL[1] // 2
    quarters = [codes[y : y + height, x : x + width] for y in (0, height) for x in (0, width)]
    return np.stack([np.bincount(part.ravel(), minlength=64) for part in quarters]).astype(np.float32) / (
        width * height
    )


def find_shots(frames: Iterable[Frame]) -> list[range]:
    """The frame numbers of each shot of a video, in order; together they are all its frames.

    Raises as the reading of the frames does.
    """
    changes, before = [], None
    for frame in frames:
        now = colours(frame.image)
        changes.append(0.0 if before is None else float(np.abs(now - before).sum(axis=1).mean()) / 2)
        before = now
    cuts = [0]
    for number, change in enumerate(changes):
        beside = [*changes[max(number - 2, 1) : number], *changes[number + 1 : number + 3]]
        stands_out = change > LEAST_CHANGE and change > STANDS_OUT * max(beside, default=0.0)
        if stands_out and number - cuts[-1] >= SHORTEST:
            cuts.append(number)
    return [range(start, end) for start, end in zip(cuts, [*cuts[1:], len(changes)], strict=True)]
