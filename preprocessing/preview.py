"""A contact sheet of one video, for a person to check before a week of cluster time is spent."""

from pathlib import Path

import cv2
import numpy as np

from common.sheet import BACKGROUND, LINE, below, beside, text, write_sheet
from common.spread import spread
from faces.crops import Crop, cut
from faces.detector import FaceDetector
from faces.one_pass import Faces, Finder, find_faces, threads
from faces.tracking import Track
from faces.video import Reading, probe, read_some

COLUMNS, ROWS = 5, 2  # of the frames that are shown
CELL, FACE = 300, 146  # pixels: longest side of a frame, side of a crop
SHOWN_FACES = 4
# Colours of the tracks, in BGR. GREY is for boxes outside of tracks, such as those below the tracking score.
COLOURS = (
    (80, 200, 60),
    (255, 140, 30),
    (60, 120, 255),
    (220, 80, 220),
)
GREY = (150, 150, 150)


def contact_sheet(video: Path, detector: FaceDetector, output: Path, cores: int) -> str:
    """Write the contact sheet of a video as PNG; return its heading.

    Raises UnsupportedError, DecodeError or FileNotFoundError as `faces.video.read_frames` does.
    """
    info = probe(video)
    with threads(cores) as (submit, ahead):
        reading = Reading(video, info)
        faces = find_faces(reading, reading, Finder(detector, submit, ahead, keep=0))
    shown = spread(faces.frames, COLUMNS * ROWS).tolist()
    crops = {
        (crop.frame, crop.face): (source, crop)
        for source, crops_of_source in faces.crops.items()
        for crop in crops_of_source
        if crop.frame in shown
    }
    pixels = dict(read_some(video, info, {*shown, *(source for source, _ in crops.values())}))
    cells = [cell(faces, number, pixels, crops) for number in shown]
    heading = f"{video.name}: {headline(faces)}"
    rows = [beside(cells[start : start + COLUMNS]) for start in range(0, len(cells), COLUMNS)]
    width = max(row.shape[1] for row in rows)
    sheet = below([text(heading, width), *timelines(faces, width), *rows])
    write_sheet(output, sheet)
    return heading


def headline(faces: Faces) -> str:
    """A line about what was found in the video."""
    voted, agreed, tracks, _ = faces.tracking
    lengths = [len(track) for track in tracks]
    sides = [squares[0].size for squares in faces.squares]
    return (
        f"{faces.frames} frames of {faces.info.width}x{faces.info.height}; {voted} faces voted, by {agreed} frames; "
        f"detections of the tracks: {lengths}; crop sides: {sides}"
    )


def cell(
    faces: Faces, number: int, pixels: dict[int, np.ndarray], crops: dict[tuple[int, int], tuple[int, Crop]]
) -> np.ndarray:
    """One frame with its boxes and squares, and its crops below it: BGR uint8 [H, W, 3].

    `pixels` holds frames, BGR uint8 [H, W, 3]; `crops` a crop and its source frame by frame and face.
    """
    frame = pixels[number]
    scale = CELL / max(frame.shape[:2])
    image = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for x1, y1, x2, y2, _ in faces.detections[number]:
        rectangle(image, (x1, y1, x2, y2), scale, GREY, 1)
    thumbnails = []
    for face, track in enumerate(faces.tracking.tracks[:SHOWN_FACES]):
        source, crop = crops[number, face]
        x, y, size = crop.square
        rectangle(image, (x, y, x + size, y + size), scale, COLOURS[face], 1)
        if box := box_in(track, number):
            rectangle(image, box, scale, COLOURS[face], 2)
        thumbnail = cv2.resize(cut(pixels[source], crop.square), (FACE, FACE), interpolation=cv2.INTER_AREA)
        thumbnails.append(
            cv2.copyMakeBorder(thumbnail[2:-2, 2:-2], 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=COLOURS[face])
        )
    label = text(f"frame {number + 1}", CELL)
    pairs = [beside(thumbnails[start : start + 2]) for start in range(0, len(thumbnails), 2)]
    return below([label, image, *pairs])


def box_in(track: Track, number: int) -> tuple[int, int, int, int] | None:
    """The track's box in frame `number`; None if it was not detected there."""
    return next((detection.box for detection in track if detection.frame == number), None)


def timelines(faces: Faces, width: int) -> list[np.ndarray]:
    """An image [H, width, 3] per track that stands for the whole video: coloured in the frames with a detection."""
    strips = []
    for face, track in enumerate(faces.tracking.tracks[:SHOWN_FACES]):
        strip = np.full((1, faces.frames, 3), BACKGROUND + 30, np.uint8)
        strip[0, [detection.frame for detection in track]] = COLOURS[face]
        strips.append(cv2.resize(strip, (width, LINE // 2), interpolation=cv2.INTER_NEAREST))
    return strips


def rectangle(
    image: np.ndarray, box: tuple[float, ...], scale: float, colour: tuple[int, int, int], thickness: int
) -> None:
    """Draw a box of the full frame into `image` [H, W, 3], which is `scale` times as large."""
    x1, y1, x2, y2 = (round(float(value) * scale) for value in box)
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, thickness)
