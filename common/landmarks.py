"""The table of landmarks that make_crop_lists.py writes beside the lists: five points for each crop with a face."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from common.errors import BadInputError
from common.files import write_table

LANDMARKS = "landmarks.csv"
POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
HEADING = ("filename", *(f"{point}_{axis}" for point in POINTS for axis in "xy"))


def write_landmarks(path: Path, landmarks: Mapping[str, np.ndarray | None]) -> None:
    """Write landmarks by the crop's path below the faces.

    Landmarks are float32 [5, 2], x and y in the crop's pixels in the order of POINTS; None if no face was found.
    """
    rows = [
        (name, *([""] * 10 if points is None else [f"{value:.2f}" for value in points.flat]))
        for name, points in sorted(landmarks.items())
    ]
    write_table(path, [HEADING, *rows])


def read_landmarks(path: Path) -> dict[str, np.ndarray | None]:
    """Read what `write_landmarks` wrote: points [5, 2] in pixels by crop, None for a crop without a face.

    Raises BadInputError for wrong columns or a wrong row.
    """
    landmarks: dict[str, np.ndarray | None] = {}
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:  # as names of files have it
        rows = csv.reader(file)
        if (heading := tuple(next(rows, ()))) != HEADING:
            raise BadInputError(f"{path} has the columns {','.join(heading)}, not {','.join(HEADING)}")
        for row in rows:
            try:
                name, *values = row
                points = np.array(values, np.float32).reshape(5, 2) if any(values) else None
            except ValueError as error:
                raise BadInputError(f"{path}:{rows.line_num}: {error}") from error
            landmarks[name] = points
    return landmarks
