"""How a clip shows its faces: what a false-positive rate depends on, besides the networks (inference.calibration)."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 128  # pixels to which a crop is scaled before it is looked at
LOOKED_AT = 16  # crops of a face, spread over the video


@dataclass(frozen=True)
class Conditions:
    """What is measured of the faces that decide; `bits_per_pixel` is None for crops of an unknown file."""

    face_pixels: float  # side, in the video, of the square that the networks see; the median
    sharpness: float  # mean size of the Laplacian of the crops' grey, scaled to SIDE pixels, in [0, 1]
    light: float  # mean grey of the crops, in [0, 1]
    bits_per_pixel: float | None = None  # that the file spends on a pixel of a frame


@dataclass(frozen=True)
class Measure:
    """A measure in words: `of` it, then a number with so many digits, then the unit.

    More of an `open` one than a calibration knows is no reason for doubt: the networks see no more of it.
    """

    of: str
    digits: int
    unit: str
    open: bool


MEASURES = {
    "face_pixels": Measure("faces", 0, " pixels wide", open=True),
    "sharpness": Measure("sharpness", 3, "", open=False),
    "light": Measure("light", 2, "", open=False),
    "bits_per_pixel": Measure("bits a pixel", 3, "", open=True),
}


def conditions_of(
    crops: Sequence[np.ndarray], sides: Sequence[float], bits_per_pixel: float | None = None
) -> Conditions:
    """The conditions of crops, RGB uint8 [N, side, side, 3] for each face, whose squares have these sides in a video.

    A crop may have any size. Raises ValueError without a crop.
    """
    looks = [look(image) for of_face in crops for image in of_face[:: max(-(-len(of_face) // LOOKED_AT), 1)]]
    if not looks:
        raise ValueError("no crop to measure")
    sharpness, light = np.mean(looks, axis=0)
    exact = None if bits_per_pixel is None else round(bits_per_pixel, 5)
    return Conditions(round(float(np.median(sides)), 1), round(float(sharpness), 5), round(float(light), 4), exact)


def look(image: np.ndarray) -> tuple[float, float]:
    """Sharpness and light of one crop, RGB uint8 [H, W, 3]."""
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean()) / 255, float(grey.mean()) / 255


def in_words(name: str, value: float) -> str:
    """A measure's value, as `faces 84 pixels wide`."""
    measure = MEASURES[name]
    return f"{measure.of} {value:.{measure.digits}f}{measure.unit}"
