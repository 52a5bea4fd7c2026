"""What stage 3 and `preprocess.py` write for a video: the crops as files, and `info.json`."""

import json
from collections.abc import Iterable, Iterator

import numpy as np

from common.images import encode_image
from faces.crops import Crop, Square
from faces.tracking import Tracking

SUFFIXES = (".png", ".jpg")  # for image models, for video models


def face_files(crops: Iterable[tuple[Crop, np.ndarray]]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files of crops, BGR uint8 [size, size, 3], that were all cut from one frame."""
    encoded: dict[Square, list[bytes]] = {}  # a frame without a detection repeats the crop of the nearest detection
    for crop, pixels in crops:
        if crop.square not in encoded:
            encoded[crop.square] = [encode_image(pixels, suffix) for suffix in SUFFIXES]
        for suffix, content in zip(SUFFIXES, encoded[crop.square], strict=True):
            yield f"frame{crop.frame + 1}_face{crop.face + 1}{suffix}", content


def describe(
    frames: int, height: int, width: int, fps: float | None, tracking: Tracking, squares: list[list[Square]]
) -> str:
    """The text of `info.json`. Frames are numbered from 1, as the files are; boxes are corners, squares x, y, size.

    `squares` holds each track's squares, one per frame.
    """
    faces = [
        {
            "detections": [[seen.frame + 1, list(seen.box), float(str(np.float32(seen.score)))] for seen in track],
            "squares": [list(square) for square in track_squares],
        }
        for track, track_squares in zip(tracking.tracks, squares, strict=True)
    ]
    facts: dict[str, object] = {"frames": frames, "height": height, "width": width, "fps": fps}
    facts |= {"voted_faces": tracking.voted_faces, "voted_frames": tracking.voted_frames, "tracks": faces}
    return json.dumps(facts) + "\n"
