"""The table of landmarks that make_crop_lists.py keeps beside the lists: five points for a crop, or none found."""

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
    """Write landmarks float32 [5, 2] (x, y in the crop's pixels) or None by the crop's path below the faces."""
    rows = [
        (name, *([""] * 10 if points is None else [f"{value:.2f}" for value in points.flat]))
        for name, points in sorted(landmarks.items())
    ]
    write_table(path, [HEADING, *rows])


def read_landmarks(path: Path) -> dict[str, np.ndarray | None]:
    """Landmarks float32 [5, 2] by the crop's path; None: no face was found. Raises BadInputError for a wrong row."""
    found: dict[str, np.ndarray | None] = {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        if (heading := tuple(next(rows, ()))) != HEADING:
            raise BadInputError(f"{path} has the columns {','.join(heading)}, not {','.join(HEADING)}")
        for name, *values in rows:
            try:
                points = np.array(values, np.float32).reshape(5, 2) if any(values) else None
            except ValueError as error:
                raise BadInputError(f"{path}:{rows.line_num}: {error}") from error
            found[name] = points
    return found
