"""What a JPEG shows about its compression: its quality, and whether it was compressed more strongly before.

A value that was rounded to multiples of a first step, and then to those of a smaller one, leaves some multiples of the
second empty (J. Lukas and J. Fridrich, Estimation of Primary Quantization Matrix in Double Compressed JPEG Images,
2003). That is only seen if the picture was neither scaled nor moved in between.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from faces.containers import picture_format
from faces.stills import open_picture

# The luma table of JPEG's standard (ITU-T T.81, annex K), which libjpeg scales by its quality.
STANDARD = np.array(
    [
        *([16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56]),
        *([14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92]),
        *([49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99]),
    ]
)
QUALITIES = range(30, 98)
MODES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (0, 3), (3, 0), (1, 2), (2, 1))  # row and column of a frequency
MOST_BLOCKS = 40_000
ERROR = 1.0  # of a coefficient between two compressions, from rounding pixels
LEAST_VALUES = 80  # that one compression would leave at the empty places
FEW = 5  # values that may be there by chance
EMPTY = 0.25  # share of them that are there: less shows two compressions
LEAST_OF_ONE, LEAST_MODES, MOST_AGREE = 10, 3, 0.75  # values of a frequency that tells; frequencies; share that agrees
STEPS = 8  # multiples of the first step that are looked at


@dataclass(frozen=True)
class JpegHistory:
    """A JPEG's compression. A quality is libjpeg's, 1 to 100."""

    quality: int | None  # None for tables that libjpeg does not make
    earlier_quality: int | None  # of a stronger compression before; None if nothing shows one


def jpeg_history(path: Path) -> JpegHistory | None:
    """The compression of a JPEG; None for another file. Raises as `faces.stills.open_picture` does."""
    if picture_format(path) != "JPEG":
        return None
    with open_picture(path) as picture:
        tables = getattr(picture, "quantization", {})
        if 0 not in tables or picture.mode not in ("L", "RGB"):
            return JpegHistory(None, None)
        picture.draft("L", picture.size)
        luma = np.asarray(picture.convert("L"))
    table = np.array(tables[0]).reshape(8, 8)
    return JpegHistory(quality_of(table), earlier_quality(coefficients(luma), table))


def table_of(quality: int) -> np.ndarray:
    """libjpeg's luma table of a quality, int [8, 8]."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((STANDARD * scale + 50) // 100, 1, 255)


def quality_of(table: np.ndarray) -> int | None:
    """The quality whose table this is; None if it is none of libjpeg's."""
    return next((quality for quality in range(100, 0, -1) if np.array_equal(table_of(quality), table)), None)


def coefficients(luma: np.ndarray) -> np.ndarray:
    """The cosine transform of blocks of a picture, uint8 [H, W] -> float [N, 8, 8], N at most about MOST_BLOCKS."""
    rows, columns = luma.shape[0] // 8, luma.shape[1] // 8
    every = -(-rows * columns // MOST_BLOCKS)
    parts = luma[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    angles = np.outer(np.arange(8), 2 * np.arange(8) + 1) * np.pi / 16
    basis = np.cos(angles) / 2
    basis[0] /= np.sqrt(2)
    return np.asarray(basis @ (parts[:: max(every, 1)].astype(np.float32) - 128) @ basis.T)


def earlier_quality(values: np.ndarray, table: np.ndarray) -> int | None:
    """The quality of an earlier, stronger compression, from the coefficients [N, 8, 8]; None if nothing shows one.

    Several frequencies must agree: a smooth picture may lack some values of one.
    """
    counts = {mode: np.bincount(np.abs(np.rint(values[:, *mode] / table[mode])).astype(int)) for mode in MODES}
    shares = {}
    for quality in QUALITIES:
        first = table_of(quality)
        parts = [values_between(counts[mode], int(table[mode]), int(first[mode])) for mode in MODES]
        there, expected = np.array(parts).T
        telling = expected >= LEAST_OF_ONE
        agree = telling & (there < EMPTY * expected)
        pooled = there.sum() < EMPTY * expected.sum() and expected.sum() >= LEAST_VALUES
        if pooled and agree.sum() >= max(LEAST_MODES, MOST_AGREE * telling.sum()):
            shares[quality] = (there.sum() + FEW) / expected.sum()
    return min(shares, key=lambda quality: shares[quality], default=None)


def values_between(count: np.ndarray, step: int, before: int) -> tuple[float, float]:
    """How many of a frequency's values lie where a first step `before` would have left none, and how many should.

    `count` holds the values by their multiple of `step`. What should be there follows from the nearest multiples on
    both sides that the first step does not leave empty.
    """
    shown = count[: STEPS * before // step + 2].astype(float)
    numbers = np.arange(len(shown))
    empty = np.abs(numbers * step - np.rint(numbers * step / before) * before) > step / 2 + ERROR
    kept, missing = numbers[~empty], numbers[empty & (numbers < numbers[~empty].max(initial=0))]
    usual = np.exp(np.interp(missing, kept, np.log(shown[kept] + 0.5)))
    return float(np.minimum(shown[missing], usual).sum()), float(usual.sum())
