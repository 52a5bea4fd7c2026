"""What a worker process does with one video: decode sampled frames, detect, track, cut the crops that members need.

It imports no PyTorch, so a worker starts in .3 s with 100 MB. Faces are found on the CPU on every machine: 16 cores
find them faster than a GPU scores them, and the crops are always the same.
"""

import time
from collections.abc import Callable, Set
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np

from common.images import encode_image, resize
from faces.boxes import tracking_boxes
from faces.crops import Square
from faces.detector import load_detector
from faces.one_pass import Faces, Submit, crop_pixels, find_faces, threads
from faces.tracking import Track
from faces.video import VideoInfo, frame_times, probe, read_some
from inference.members import Branch, CropKind
from inference.scoring import image_frames, sampling_interval

MAX_FACES = 2
POSTER_WIDTH = 640
KEPT_BYTES = 256 << 20


@dataclass
class Face:
    """A tracked face: detections and squares by sampled frame, and by kind its crops, RGB uint8 [N, side, side, 3]."""

    track: Track
    squares: list[Square]
    crops: dict[CropKind, np.ndarray]


class Timing(NamedTuple):
    """When the sampled frames are shown and how long the video lasts, in seconds, by its timestamps or frame rate."""

    times: list[float]
    duration: float
    source: Literal["timestamps", "rate"]


@dataclass
class Sampled:
    """What a worker found in a video."""

    info: VideoInfo
    interval: int  # every interval-th frame was sampled
    frames: int  # how many frames were sampled
    damaged: int  # packets that could not be decoded
    voted_faces: int  # how many faces most sampled frames show
    voted_frames: int  # how many sampled frames show so many faces
    faces: list[Face]
    other_detections: int  # boxes of faces that are not among `faces`
    timing: Timing
    seconds: dict[str, float]  # of a core, by stage
    poster: bytes | None = None  # JPEG of the frame that first shows the first face


def frames_of(branch: Branch, frames: int) -> list[int]:
    """Which sampled frames a branch sees (contract, section 3): all, or whole groups of five spread over the video."""
    return image_frames(frames) if branch == "image" else list(range(frames))


def sample(video: Path, kinds: Set[CropKind], wanted: int, weights: Path, cores: int, evidence: bool) -> Sampled:
    """Find the faces of a video in at most `wanted` frames and cut their crops, on `cores` cores.

    With `evidence` it also reads timestamps and a poster. Raises the exceptions of `common.stage.FAILURES`, among them
    UnsupportedError, DecodeError and FileNotFoundError.
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
        timing=timing(info, interval, faces.frames, stamps),
    )


def timing(info: VideoInfo, interval: int, frames: int, stamps: list[float]) -> Timing:
    """The timing of a video's sampled frames; `stamps` are the times of all its frames.

    If there are too few stamps, the frame rate gives the times.
    """
    frame = 1 / info.fps if info.fps else 0.0
    if len(stamps) > (frames - 1) * interval:
        return Timing(stamps[::interval][:frames], stamps[-1] + frame, "timestamps")
    return Timing([number * interval * frame for number in range(frames)], info.frames * frame, "rate")


def cut_crops(faces: Faces, kinds: Set[CropKind]) -> list[dict[CropKind, np.ndarray]]:
    """Each face's crops of each kind, cut only from the frames that the kind's branch sees."""
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
            views = {kind[1:] for kind in wanted}  # two branches may need the same crop
            small = {(side, fraction): resize(middle(image, fraction), side) for side, fraction in views}
            for kind in wanted:
                found[crop.face][kind][places[kind.branch][crop.frame]] = small[kind[1:]]
    return found


def middle(image: np.ndarray, fraction: float) -> np.ndarray:
    """The middle of a square image [S, S, 3], `fraction` of its side wide, as a view."""
    side = max(round(len(image) * fraction), 1)
    start = (len(image) - side) // 2
    return image[start : start + side, start : start + side]


def frame_as_jpeg(video: Path, number: int) -> bytes:
    """The JPEG of a frame of the video, by its number from 0, scaled to POSTER_WIDTH."""
    _, frame = next(read_some(video, {number}))
    scale = POSTER_WIDTH / frame.shape[1]
    return encode_image(cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), ".jpg")


class Stopwatch:
    """Adds up the CPU seconds that calls take."""

    def __init__(self) -> None:
        self.spent: list[float] = []

    @property
    def seconds(self) -> float:
        """The sum so far."""
        return sum(self.spent)

    def around(self, submit: Submit) -> Submit:
        """Return a `submit` that also measures the calls, in whichever thread they run."""

        def measured(work: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
            began = time.thread_time()
            try:
                return work(*arguments)
            finally:
                self.spent.append(time.thread_time() - began)

        def submit_measured(work: Callable[..., Any], *arguments: object) -> Future[Any]:
            return submit(measured, work, *arguments)

        return submit_measured
