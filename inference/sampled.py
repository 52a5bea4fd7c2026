"""What a worker process does with one video: decode the sampled frames, detect, track, and cut the crops that the
members need.

It imports no PyTorch, so a worker starts in .3 s and 100 MB. Faces are found on the CPU whatever the networks run on:
16 cores find them faster than a GPU scores them, and the crops are the same on every machine.
"""

import time
from collections.abc import Callable, Set
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from common.images import encode_image, resize
from faces.boxes import tracking_boxes
from faces.crops import Square
from faces.detector import load_detector
from faces.tracking import Track
from faces.video import VideoInfo, frame_times, probe, read_some
from inference.scoring import image_frames, sampling_interval
from preprocessing.one_pass import Faces, Submit, crop_pixels, find_faces, threads

MAX_FACES = 2
POSTER_WIDTH = 640
KEPT_BYTES = 256 << 20


class Kind(NamedTuple):
    """Crops as a member sees them: its branch, whose frames are meant, their side in pixels, and the middle share of
    the square around the face that they show, 1 for all of it."""

    branch: str
    side: int
    share: float = 1.0


@dataclass
class Face:
    """A tracked face: its detections and squares by sampled frame, and its RGB crops uint8 [N,
    side, side, 3] by kind.
    """

    track: Track
    squares: list[Square]
    crops: dict[Kind, np.ndarray]


@dataclass
class Sampled:
    """What was found in a video.

    `seconds` are a core's; `times` are those of the sampled frames, `times_from` says whether timestamps or the rate
    gave them; `other_detections` are boxes of faces that are not among `faces`; `poster` is the frame that first shows
    the first face.
    """

    info: VideoInfo
    interval: int
    frames: int
    damaged: int
    voted_faces: int
    voted_frames: int
    faces: list[Face]
    other_detections: int
    times: list[float]
    duration: float
    times_from: str
    seconds: dict[str, float]
    poster: bytes | None = None  # JPEG


def frames_of(branch: str, frames: int) -> list[int]:
    """Which of the sampled frames a branch sees (contract, section 3): all, or whole groups of five
    spread over the video.
    """
    return image_frames(frames) if branch == "image" else list(range(frames))


def sample(video: Path, kinds: Set[Kind], wanted: int, weights: Path, cores: int, evidence: bool) -> Sampled:
    """Find the faces of a video in at most `wanted` frames and cut their crops, on so many cores; with `evidence` also
    read timestamps and a poster.

    Raises what `common.stage.FAILURES` names: UnsupportedError, DecodeError, FileNotFoundError among them.
    """
    began = time.thread_time()
    info, detecting = probe(video), Stopwatch()
    interval = sampling_interval(info.frames, wanted)
    with threads(cores) as (submit, ahead):
        detector, here = load_detector(weights, "cpu"), cores == 1
        faces = find_faces(
            video, detector, detecting.around(submit), ahead, lambda count: None, KEPT_BYTES, interval, MAX_FACES
        )  # fmt: skip
    decoded = time.thread_time()
    crops = cut_crops(faces, kinds)
    found = [Face(*face) for face in zip(faces.tracking.tracks, faces.squares, crops, strict=True)]
    picture = frame_as_jpeg(video, faces.tracking.tracks[0][0].frame * interval) if evidence and found else None
    stamps = frame_times(video) if evidence else []
    seconds = {
        "decode": decoded - began - (detecting.seconds if here else 0),
        "detect": detecting.seconds,
        "track and crop": time.thread_time() - decoded,
    }
    tracking = faces.tracking
    boxes = sum(len(tracking_boxes(frame)) for frame in faces.detections)
    return Sampled(
        info=info,
        interval=interval,
        frames=faces.frames,
        damaged=faces.damaged,
        voted_faces=tracking.voted_faces,
        voted_frames=tracking.voted_frames,
        faces=found,
        other_detections=boxes - sum(len(track) for track in tracking.tracks),
        seconds=seconds,
        poster=picture,
        **timing(info, interval, faces.frames, stamps),
    )


def timing(info: VideoInfo, interval: int, frames: int, stamps: list[float]) -> dict[str, Any]:
    """`times`, `duration` and `times_from` of a video with these timestamps of all its frames, or
    with too few of them.
    """
    frame = 1 / info.fps if info.fps else 0.0
    if len(stamps) > (frames - 1) * interval:
        return {"times": stamps[::interval][:frames], "duration": stamps[-1] + frame, "times_from": "timestamps"}
    times = [number * interval * frame for number in range(frames)]
    return {"times": times, "duration": info.frames * frame, "times_from": "rate"}


def cut_crops(faces: Faces, kinds: Set[Kind]) -> list[dict[Kind, np.ndarray]]:
    """Each face's crops of each kind; only the frames that a kind's branch sees are cut."""
    branches = {kind.branch for kind in kinds}
    places = {branch: {frame: at for at, frame in enumerate(frames_of(branch, faces.frames))} for branch in branches}
    seen = set().union(*places.values())
    faces.crops = {
        source: needed
        for source, crops in faces.crops.items()
        if (needed := [crop for crop in crops if crop.frame in seen])
    }
    found = [
        {kind: np.empty((len(places[kind.branch]), kind.side, kind.side, 3), np.uint8) for kind in kinds}
        for _ in faces.squares
    ]
    for pixels in crop_pixels(faces):
        for crop, image in pixels:
            wanted = [kind for kind in kinds if crop.frame in places[kind.branch]]
            views = {(kind.side, kind.share) for kind in wanted}  # both branches may have the same
            small = {(side, share): resize(middle(image, share), side) for side, share in views}
            for kind in wanted:
                found[crop.face][kind][places[kind.branch][crop.frame]] = small[kind.side, kind.share]
    return found


def middle(image: np.ndarray, share: float) -> np.ndarray:
    """The middle of a square image [S, S, 3], `share` of its side wide, a view."""
    side = max(round(len(image) * share), 1)
    start = (len(image) - side) // 2
    return image[start : start + side, start : start + side]


def frame_as_jpeg(video: Path, number: int) -> bytes:
    """A frame of the video, by its number from 0, POSTER_WIDTH wide."""
    _, frame = next(read_some(video, {number}))
    scale = POSTER_WIDTH / frame.shape[1]
    return encode_image(cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), ".jpg")


class Stopwatch:
    """Adds up the seconds of a core that calls take."""

    def __init__(self) -> None:
        self.spent: list[float] = []

    @property
    def seconds(self) -> float:
        """So far."""
        return sum(self.spent)

    def around(self, submit: Submit) -> Submit:
        """`submit` that also measures what it runs, in whichever thread."""

        def measured(work: Callable, *arguments: object) -> object:
            began = time.thread_time()
            try:
                return work(*arguments)
            finally:
                self.spent.append(time.thread_time() - began)

        def submit_measured(work: Callable, *arguments: object) -> Future:
            return submit(measured, work, *arguments)

        return submit_measured
