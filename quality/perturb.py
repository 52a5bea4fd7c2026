"""Perturbations of videos, like those on their way through the web, for `quality.robustness` to score.

All are written as H.264 (libx264, preset veryfast). Those that are not about compression have crf 18, where compression
is not visible.
"""

import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import floor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import av
import cv2
import numpy as np

from common.files import atomic_file
from faces.video import probe, read_frames
from inference.sampling.perturbed import RECODINGS, Recoding, change

CLEAN = 18  # crf
# Takes a frame, BGR uint8 [H, W, 3], and random numbers; gives a frame, perhaps of another size.
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Perturbation(NamedTuple):
    """How a video is changed and encoded."""

    change: Change  # of each frame
    crf: int = CLEAN  # of the encoding
    fps: float | None = None  # frames per second that are kept; None: all
    first_crf: int | None = None  # of an encoding before the change; None: there is none


def unchanged(frame: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Leave the frame as it is."""
    return frame


def recoded(recoding: Recoding) -> Change:
    """Scale and mirror as a recoding of `--stability` does."""
    return lambda frame, _: change(frame, recoding)


def blurred(frame: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Blur with a Gaussian of sigma 2 pixels."""
    return cv2.GaussianBlur(frame, (0, 0), 2)


def noisy(frame: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise with a standard deviation of 10 levels."""
    return np.clip(frame + random.standard_normal(frame.shape, np.float32) * 10, 0, 255).astype(np.uint8)


def gamma(exponent: float) -> Change:
    """Raise the levels to a power: below 1 the frame becomes lighter, above 1 darker."""
    table = (255 * (np.arange(256) / 255) ** exponent).round().astype(np.uint8)
    return lambda frame, _: cv2.LUT(frame, table)


def cropped(frame: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Cut out the middle, 0.8 of each side."""
    height, width = frame.shape[:2]
    return frame[height // 10 : height - height // 10, width // 10 : width - width // 10]


def on_a_screen(frame: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """As if a player's window had been captured: scaled down to 0.7, then up to 0.9, on a dark background."""
    small = cv2.resize(frame, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    window = cv2.resize(small, None, fx=0.9 / 0.7, fy=0.9 / 0.7, interpolation=cv2.INTER_LINEAR)
    screen = np.full_like(frame, 24)
    top, left = ((whole - part) // 2 for whole, part in zip(frame.shape[:2], window.shape[:2], strict=True))
    screen[top : top + window.shape[0], left : left + window.shape[1]] = window
    return screen


def filmed(frame: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """As if a phone filmed a screen: keystone, moire between both pixel grids, glare, slightly out of focus."""
    height, width = frame.shape[:2]
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * np.array([width, height], np.float32)
    seen = np.array([[0.04, 0.05], [0.98, 0.02], [0.95, 0.97], [0.02, 0.94]], np.float32)
    turn = cv2.getPerspectiveTransform(corners, seen * np.array([width, height], np.float32))
    screen = cv2.warpPerspective(frame, turn, (width, height), flags=cv2.INTER_LINEAR, borderValue=(24, 24, 24))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    moire = 1 + 0.06 * np.sin(2 * np.pi * (x + 0.3 * y) / 7.3) + 0.06 * np.sin(2 * np.pi * (y - 0.2 * x) / 11.7)
    distance = ((x - 0.75 * width) ** 2 + (y - 0.2 * height) ** 2) / (0.25 * width) ** 2  # from the glare
    lit = screen * moire[..., None] + 70 * np.exp(-distance)[..., None]
    return cv2.GaussianBlur(np.clip(lit, 0, 255).astype(np.uint8), (0, 0), 0.8)


# The names are also those of folders, and noise depends on its name.
PERTURBATIONS = {
    "crf 28": Perturbation(unchanged, crf=RECODINGS["H.264 at crf 28"].crf),
    "crf 35": Perturbation(unchanged, crf=RECODINGS["H.264 at crf 35"].crf),
    "crf 40": Perturbation(unchanged, crf=40),
    "half size": Perturbation(recoded(RECODINGS["half size"])),
    "15 fps": Perturbation(unchanged, fps=15),
    "blur": Perturbation(blurred),
    "noise": Perturbation(noisy),
    "gamma .6": Perturbation(gamma(0.6)),
    "gamma 1.6": Perturbation(gamma(1.6)),
    "mirrored": Perturbation(recoded(RECODINGS["mirrored"])),
    "cropped": Perturbation(cropped),
    "screenshot": Perturbation(on_a_screen, crf=30, first_crf=30),
    "filmed": Perturbation(filmed, crf=30, first_crf=30),
}


def perturb(source: Path, target: Path, name: str) -> int:
    """Write the perturbation `name` of a video, atomically; return the number of frames.

    Raises UnsupportedError, DecodeError or FileNotFoundError for a source that cannot be read.
    """
    perturbation = PERTURBATIONS[name]
    random = np.random.default_rng(zlib.crc32(f"{name}/{source.name}".encode("utf-8", "surrogateescape")))
    with atomic_file(target) as temporary, TemporaryDirectory() as folder:
        if perturbation.first_crf is not None:
            first = Path(folder) / "first.mp4"
            encode(source, first, Perturbation(unchanged, crf=perturbation.first_crf), random)
            source = first
        return encode(source, temporary, perturbation, random)


def encode(source: Path, target: Path, perturbation: Perturbation, random: np.random.Generator) -> int:
    """Change and encode a video once; return the number of frames. Raises as `perturb` does."""
    rate = probe(source).fps or 30.0
    kept_rate = min(rate, perturbation.fps or rate)
    frames = (perturbation.change(frame, random) for frame in thinned(read_frames(source), kept_rate / rate))
    count = 0
    with av.open(str(target), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(kept_rate).limit_denominator(1001))
        stream.pix_fmt, stream.options = "yuv420p", {"crf": str(perturbation.crf), "preset": "veryfast"}
        for frame in map(with_even_sides, frames):
            if count == 0:
                stream.height, stream.width = frame.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
            count += 1
        container.mux(stream.encode())
    return count


def thinned(frames: Iterator[np.ndarray], fraction: float) -> Iterator[np.ndarray]:
    """Yield a fraction, in (0, 1], of the frames, evenly spread."""
    for number, frame in enumerate(frames):
        if floor(number * fraction + 1e-9) > floor((number - 1) * fraction + 1e-9):
            yield frame


def with_even_sides(frame: np.ndarray) -> np.ndarray:
    """The frame [H, W, 3] without an odd last row or column, which yuv420p cannot hold."""
    return np.ascontiguousarray(frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2])
