"""Where a picture of the original lies in one of the suspect's: an affine map, found by points that look alike.

The points are SIFT's (Lowe, 2004), the map is RANSAC's (Fischler and Bolles, 1981). A changed face does not disturb it,
because its points have no match or are outvoted.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

POINTS = 1000  # of a picture
LONG_SIDE = 960  # of a picture in which points are looked for, in pixels
RATIO = 0.8  # of the distances to the nearest and to the second nearest point (Lowe)
REACH = 2.0  # pixels by which a matched point may miss its place
LEAST = 20  # matched points
NEAR = 0.03  # of the width: by so much the corners of a map that is tried may lie elsewhere
LEAST_SHARE = 0.1  # of the matches that have to agree


class Points(NamedTuple):
    """Points of a picture, [N, 2] in its pixels, and what they look like, [N, 128]."""

    places: np.ndarray
    looks: np.ndarray


class Placed(NamedTuple):
    """The affine map [2, 3] from the original's pixels to the suspect's; how many matched points agree, of how many.

    Of a simple map (`simple_maps`) these are the points of the map that it was rounded from.
    """

    matrix: np.ndarray
    agree: int
    matches: int

    @property
    def mirrored(self) -> bool:
        """Whether left and right changed places."""
        return bool(np.linalg.det(self.matrix[:, :2]) < 0)

    @property
    def scale(self) -> tuple[float, float]:
        """The factors of width and height."""
        across, down = np.linalg.norm(self.matrix[:, :2], axis=0)
        return float(across), float(down)

    @property
    def rotation(self) -> float:
        """The turn of the original's vertical, clockwise, in degrees."""
        x, y = self.matrix[:, 1]
        return float(np.degrees(np.arctan2(-x, y)))


def points_of(image: np.ndarray, mirrored: bool = False) -> Points:
    """The points of a picture, BGR uint8. `mirrored` tells what they look like in a mirror; the places stay."""
    scale = min(LONG_SIDE / max(image.shape[:2]), 1.0)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    if mirrored:
        grey = np.ascontiguousarray(grey[:, ::-1])
    found, looks = cv2.SIFT.create(nfeatures=POINTS, enable_precise_upscale=True).detectAndCompute(grey, None)
    if looks is None:
        return Points(np.empty((0, 2), np.float32), np.empty((0, 128), np.float32))
    places = np.array([one.pt for one in found], np.float32)
    if mirrored:
        places[:, 0] = grey.shape[1] - 1 - places[:, 0]
    return Points((places + 0.5) / scale - 0.5, np.sqrt(looks / np.maximum(looks.sum(axis=1, keepdims=True), 1e-6)))


def matched(suspect: Points, original: Points) -> np.ndarray:
    """Places that look alike, [N, 2, 2]: in the suspect and in the original."""
    if min(len(suspect.places), len(original.places)) < 2:
        return np.empty((0, 2, 2), np.float32)
    nearest = cv2.BFMatcher(cv2.NORM_L2).knnMatch(suspect.looks, original.looks, k=2)
    good = [first for first, second in nearest if first.distance < RATIO * second.distance]
    pairs = [(suspect.places[one.queryIdx], original.places[one.trainIdx]) for one in good]
    return np.array(pairs, np.float32).reshape(-1, 2, 2)


def placed(matches: np.ndarray) -> Placed | None:
    """The map on which most of the matches [N, 2, 2] agree; None if too few do, or if it cannot be one of a picture."""
    if len(matches) < LEAST:
        return None
    cv2.setRNGSeed(0)
    ours, theirs = (np.ascontiguousarray(matches[:, side]) for side in (0, 1))
    matrix, agreeing = cv2.estimateAffine2D(
        theirs, ours, method=cv2.RANSAC, ransacReprojThreshold=REACH, maxIters=5000, confidence=0.999
    )
    if matrix is None or not is_plausible(matrix):
        return None
    inside = agreeing.ravel().astype(bool)
    if inside.sum() < max(LEAST, LEAST_SHARE * len(matches)):
        return None
    return Placed(matrix, int(inside.sum()), len(matches))


def is_plausible(matrix: np.ndarray) -> bool:
    """Whether a map scales by a fifth to five, nearly alike in width and height, and hardly shears."""
    sizes = np.linalg.svd(matrix[:, :2], compute_uv=False)
    across, down = matrix[:, 0], matrix[:, 1]
    shear = abs(float(across @ down)) / max(float(np.linalg.norm(across) * np.linalg.norm(down)), 1e-9)
    return bool(sizes[1] > 0.2 and sizes[0] < 5 and sizes[0] < 2 * sizes[1] and shear < 0.1)


def moved(places: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Places [N, 2] under an affine map."""
    return places @ matrix[:, :2].T + matrix[:, 2]


def place(suspects: Iterable[np.ndarray], originals: Iterable[np.ndarray], mirrored: bool) -> Placed | None:
    """The map of pairs of pictures, BGR uint8, that show the same moments, by the points of all."""
    pairs = [
        matched(points_of(one), points_of(other, mirrored)) for one, other in zip(suspects, originals, strict=True)
    ]
    return placed(np.concatenate(pairs))


def best_place(suspects: Sequence[np.ndarray], originals: Iterable[np.ndarray]) -> Placed | None:
    """The map of the two pictures that agree best, whichever they are; None if no two do."""
    known = [points_of(image) for image in suspects]
    best: Placed | None = None
    for image in originals:
        for mirrored in (False, True):
            points = points_of(image, mirrored)
            for one in known:
                found = placed(matched(one, points))
                if found and (best is None or found.agree > best.agree):
                    best = found
    return best


def simple_maps(one: Placed, suspect: tuple[int, int], original: tuple[int, int]) -> list[Placed]:
    """The simple maps near the one that was found: by whole pixels, or of the whole picture; (width, height) each.

    Whoever crops or scales a clip does it by numbers like these, while matched points miss by parts of a pixel.
    """
    (width, height), (own_width, own_height) = suspect, original
    across, down = width / own_width, height / own_height
    sign = -1.0 if one.mirrored else 1.0
    whole = [
        [sign * across, 0, (across - 1) / 2 if sign > 0 else width - (across + 1) / 2],
        [0, down, (down - 1) / 2],
    ]
    middle = np.array([own_width - 1, own_height - 1]) / 2
    shift = (moved(middle[None], one.matrix)[0] - middle * (sign, 1)).round()
    pixels = [[sign, 0, shift[0]], [0, 1, shift[1]]]
    corners = np.array([[0, 0], [own_width - 1, 0], [0, own_height - 1], [own_width - 1, own_height - 1]], float)
    places = moved(corners, one.matrix)
    maps = [np.array(matrix, float) for matrix in (pixels, whole)]
    return [one._replace(matrix=near) for near in maps if np.abs(moved(corners, near) - places).max() < NEAR * width]
