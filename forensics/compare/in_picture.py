"""Where a picture of the original lies in a picture of the suspect: an affine map, from points that look alike.

The points are SIFT's (Lowe, 2004), the map is RANSAC's (Fischler and Bolles, 1981). A changed face does not disturb it,
because its points have no match or are outvoted.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

POINTS = 1000  # per picture, at most
LONG_SIDE = 960  # pixels: larger pictures are scaled down before points are detected
RATIO = 0.8  # of the distances to the nearest and the second nearest point, at most (Lowe)
REACH = 2.0  # pixels by which a matched point may miss its place
LEAST = 20  # matched points
NEAR = 0.03  # of the width: how far the corners of a simple map may lie from those of the fitted one
LEAST_SHARE = 0.1  # of the matches that have to agree


class Keypoints(NamedTuple):
    """Points of a picture: positions, float32 [N, 2] in its pixels, and descriptors, float32 [N, 128]."""

    positions: np.ndarray
    descriptors: np.ndarray


class Placement(NamedTuple):
    """The affine map [2, 3] from the original's pixels to the suspect's; how many matched points agree, of how many.

    For a simple map (`simple_placements`) the points are those of the fitted map that it is near.
    """

    matrix: np.ndarray
    agree: int
    matches: int

    @property
    def mirrored(self) -> bool:
        """Whether left and right are swapped."""
        return bool(np.linalg.det(self.matrix[:, :2]) < 0)

    @property
    def scale(self) -> tuple[float, float]:
        """The factors of width and height."""
        across, down = np.linalg.norm(self.matrix[:, :2], axis=0)
        return float(across), float(down)

    @property
    def rotation(self) -> float:
        """How far the original's vertical is turned clockwise, in degrees."""
        x, y = self.matrix[:, 1]
        return float(np.degrees(np.arctan2(-x, y)))


def detect_points(image: np.ndarray, mirrored: bool = False) -> Keypoints:
    """The points of a picture, BGR uint8 [H, W, 3]. `mirrored`: as they look in a mirror, at their true positions."""
    scale = min(LONG_SIDE / max(image.shape[:2]), 1.0)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    if mirrored:
        grey = np.ascontiguousarray(grey[:, ::-1])
    sift = cv2.SIFT.create(nfeatures=POINTS, enable_precise_upscale=True)
    points, histograms = sift.detectAndCompute(grey, None)
    if histograms is None:
        return Keypoints(np.empty((0, 2), np.float32), np.empty((0, 128), np.float32))
    positions = np.array([point.pt for point in points], np.float32)
    if mirrored:
        positions[:, 0] = grey.shape[1] - 1 - positions[:, 0]
    descriptors = np.sqrt(histograms / np.maximum(histograms.sum(axis=1, keepdims=True), 1e-6))
    return Keypoints((positions + 0.5) / scale - 0.5, descriptors)


def match(suspect: Keypoints, original: Keypoints) -> np.ndarray:
    """Positions that look alike, float32 [N, 2, 2]: in the suspect and in the original."""
    if min(len(suspect.positions), len(original.positions)) < 2:
        return np.empty((0, 2, 2), np.float32)
    nearest = cv2.BFMatcher(cv2.NORM_L2).knnMatch(suspect.descriptors, original.descriptors, k=2)
    good = [first for first, second in nearest if first.distance < RATIO * second.distance]
    pairs = [(suspect.positions[pair.queryIdx], original.positions[pair.trainIdx]) for pair in good]
    return np.array(pairs, np.float32).reshape(-1, 2, 2)


def fit(matches: np.ndarray) -> Placement | None:
    """The map on which most matches, float32 [N, 2, 2], agree; None if too few do, or if it is not plausible."""
    if len(matches) < LEAST:
        return None
    cv2.setRNGSeed(0)
    in_suspect, in_original = (np.ascontiguousarray(matches[:, side]) for side in (0, 1))
    matrix, agreeing = cv2.estimateAffine2D(
        in_original, in_suspect, method=cv2.RANSAC, ransacReprojThreshold=REACH, maxIters=5000, confidence=0.999
    )
    if matrix is None or not is_plausible(matrix):
        return None
    agree = int(agreeing.ravel().astype(bool).sum())
    if agree < max(LEAST, LEAST_SHARE * len(matches)):
        return None
    return Placement(matrix, agree, len(matches))


def is_plausible(matrix: np.ndarray) -> bool:
    """Whether an affine map [2, 3] scales by 0.2 to 5, nearly alike in width and height, and hardly shears."""
    sizes = np.linalg.svd(matrix[:, :2], compute_uv=False)
    across, down = matrix[:, 0], matrix[:, 1]
    shear = abs(float(across @ down)) / max(float(np.linalg.norm(across) * np.linalg.norm(down)), 1e-9)
    return bool(sizes[1] > 0.2 and sizes[0] < 5 and sizes[0] < 2 * sizes[1] and shear < 0.1)


def transform(positions: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Positions [N, 2] under an affine map [2, 3]."""
    return positions @ matrix[:, :2].T + matrix[:, 2]


def corners(width: float, height: float) -> np.ndarray:
    """The corners of a rectangle that starts at 0, float [4, 2]."""
    return np.array([[0, 0], [width, 0], [0, height], [width, height]], float)


def place_pairs(suspects: Iterable[np.ndarray], originals: Iterable[np.ndarray], mirrored: bool) -> Placement | None:
    """The map from pairs of pictures, BGR uint8 [H, W, 3], that show the same moments; None if they give none."""
    pairs = [
        match(detect_points(suspect), detect_points(original, mirrored))
        for suspect, original in zip(suspects, originals, strict=True)
    ]
    return fit(np.concatenate(pairs))


def place_any(suspects: Sequence[np.ndarray], originals: Iterable[np.ndarray]) -> Placement | None:
    """The map from the two pictures, BGR uint8 [H, W, 3], that agree best, whichever they are; None if no two do."""
    points_of_suspects = [detect_points(image) for image in suspects]
    best: Placement | None = None
    for image in originals:
        for mirrored in (False, True):
            of_original = detect_points(image, mirrored)
            for of_suspect in points_of_suspects:
                placement = fit(match(of_suspect, of_original))
                if placement and (best is None or placement.agree > best.agree):
                    best = placement
    return best


def simple_placements(fitted: Placement, suspect: tuple[int, int], original: tuple[int, int]) -> list[Placement]:
    """The simple maps near a fitted one: a shift by whole pixels, or the whole picture; sizes are (width, height).

    People crop and scale clips by such numbers, while matched points miss by fractions of a pixel.
    """
    (width, height), (original_width, original_height) = suspect, original
    across, down = width / original_width, height / original_height
    sign = -1.0 if fitted.mirrored else 1.0
    whole = [
        [sign * across, 0, (across - 1) / 2 if sign > 0 else width - (across + 1) / 2],
        [0, down, (down - 1) / 2],
    ]
    middle = np.array([original_width - 1, original_height - 1]) / 2
    shift = (transform(middle[None], fitted.matrix)[0] - middle * (sign, 1)).round()
    by_pixels = [[sign, 0, shift[0]], [0, 1, shift[1]]]
    outer = corners(original_width - 1, original_height - 1)
    expected = transform(outer, fitted.matrix)
    return [
        fitted._replace(matrix=matrix)
        for matrix in (np.array(by_pixels, float), np.array(whole, float))
        if np.abs(transform(outer, matrix) - expected).max() < NEAR * width
    ]
