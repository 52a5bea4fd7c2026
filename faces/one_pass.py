"""Stages 1 to 3 on one video without a frame on disk: decode, detect, track, cut.

Memory holds a few frames under way, the detections, and up to KEPT_BYTES of pixels around them. Crops outside these
pixels, as when a face comes close or a video is long, are cut in a second decoding.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from faces.aligned import face_files
from faces.boxes import tracking_boxes
from faces.crops import SCALE, Crop, Square, cut, plan_crops
from faces.tracking import Tracking, track_faces
from faces.video import Frame, VideoInfo, in_batches

KEPT_BYTES = 512 << 20
UNDER_WAY_BYTES = 256 << 20  # of frames between decoder and detector
# Side of the region that is kept around a face, over the side of that box's own crop. The region is larger because all
# crops of a track have the size of the largest. With this margin, 17 of the sample clips' 1,819 crops lie outside.
MARGIN = 1.5

OnFrames = Callable[[int], None]
Submit = Callable[..., Future[Any]]
Reread = Callable[[Collection[int]], Iterator[tuple[int, np.ndarray]]]


class Detector(Protocol):
    """Finds faces, as `faces.detector.FaceDetector` does."""

    @property
    def batch(self) -> int:
        """How many frames it takes at a time."""

    def detect(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Detections of each frame, float32 [N, 5], in frames BGR uint8 [H, W, 3]."""


class Source(Protocol):
    """Where frames come from: a `Reading`, a `Still`, or frames that are held."""

    @property
    def info(self) -> VideoInfo:
        """What is known of the video."""

    def reread(self, numbers: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The frames with these numbers once more."""


@dataclass(frozen=True)
class Finder:
    """How to find faces: by which detector, on which threads, how many, and how much to keep in memory."""

    detector: Detector
    submit: Submit  # runs a call of the detector
    ahead: int  # calls under way at a time, at most
    keep: int = KEPT_BYTES  # bytes of pixels around faces, at most
    max_faces: int | None = None  # as in faces.tracking.track_faces
    more_faces: int = 0
    on_frames: OnFrames = lambda frames: None  # called with the number of frames after each call of the detector


@dataclass
class Faces:
    """What one pass found in the frames of a video that were used. Frames are counted from 0 among these."""

    info: VideoInfo
    numbers: list[int]  # the frames' numbers in the video
    times: list[float | None]  # when the frames are shown, as faces.video.Frame says
    detections: list[np.ndarray]  # of each frame, float32 [N, 5]
    tracking: Tracking
    squares: list[list[Square]]  # of each track, in each frame
    crops: dict[int, list[Crop]]  # what to cut from each frame
    regions: "Regions"
    reread: Reread  # reads frames once more, by their numbers in the video

    @property
    def frames(self) -> int:
        """The number of frames that were used."""
        return len(self.detections)

    @property
    def frames_with_faces(self) -> int:
        """The number of frames that show a face that tracking uses."""
        return sum(len(tracking_boxes(boxes)) > 0 for boxes in self.detections)


def find_faces(frames: Iterable[Frame], reading: Source, finder: Finder) -> Faces:
    """Detect and track the faces in frames of a video. `reading` serves to read some of them once more.

    Raises UnsupportedError or DecodeError as the reading of the frames does, MemoryError as the detector does.
    """
    numbers: list[int] = []
    times: list[float | None] = []
    detections: list[np.ndarray] = []
    regions = Regions(finder.keep)
    under_way: deque[tuple[list[np.ndarray], Future[list[np.ndarray]]]] = deque()

    def take() -> None:
        images, future = under_way.popleft()
        for image, boxes in zip(images, future.result(), strict=True):
            regions.keep(len(detections), image, boxes)
            detections.append(boxes)
        finder.on_frames(len(images))

    for batch in in_batches(frames, finder.detector.batch):
        numbers += [frame.number for frame in batch]
        times += [frame.time for frame in batch]
        images = [frame.image for frame in batch]
        under_way.append((images, finder.submit(finder.detector.detect, images)))
        if len(under_way) >= min(finder.ahead, max(UNDER_WAY_BYTES // (len(images) * images[0].nbytes), 1)):
            take()
    while under_way:
        take()
    info = reading.info
    tracking = track_faces(detections, finder.max_faces, finder.more_faces)
    squares, crops = plan_crops(tracking.tracks, len(detections), info.width, info.height)
    return Faces(info, numbers, times, detections, tracking, squares, crops, regions, reading.reread)


def crop_files(faces: Faces, submit: Submit, ahead: int) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every crop's files. `submit` runs the encoding, up to `ahead` frames at a time."""
    under_way: deque[Future[list[tuple[str, bytes]]]] = deque()
    for pixels in crop_pixels(faces):
        under_way.append(submit(lambda pixels=pixels: list(face_files(pixels))))
        if len(under_way) >= ahead:
            yield from under_way.popleft().result()
    for future in under_way:
        yield from future.result()


def crop_pixels(faces: Faces) -> Iterator[list[tuple[Crop, np.ndarray]]]:
    """Yield, for each frame with crops, the crops and their pixels, BGR uint8 [size, size, 3].

    First come those from memory, then those from a second decoding, which raises as `faces.video.read_some` does.
    """
    missing: dict[int, list[Crop]] = {}
    for number in sorted(faces.crops):
        crops = faces.crops[number]
        images = [faces.regions.cut(number, crop.square) for crop in crops]
        kept = [(crop, image) for crop, image in zip(crops, images, strict=True) if image is not None]
        if len(kept) < len(crops):
            missing[number] = crops
        else:
            yield kept
    places = {faces.numbers[index]: index for index in missing}
    for number, frame in faces.reread(places.keys()):
        yield [(crop, cut(frame, crop.square)) for crop in missing[places[number]]]


@contextmanager
def threads(count: int) -> Iterator[tuple[Submit, int]]:
    """Yield a function that runs calls on `count` other threads, and how many calls to have under way at a time.

    With a `count` of 1 this thread runs the calls itself.
    """
    if count == 1:
        yield run_now, 1
        return
    with ThreadPoolExecutor(count) as pool:
        yield pool.submit, 2 * count


def run_now(work: Callable[..., Any], *arguments: object) -> Future[Any]:
    """Call `work` now; return its result or exception as a future that is done."""
    future: Future[Any] = Future()
    try:
        future.set_result(work(*arguments))
    except Exception as error:
        future.set_exception(error)
    return future


class Regions:
    """Copies of the regions around detections that tracking uses, up to `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.kept: dict[int, list[tuple[int, int, np.ndarray]]] = defaultdict(list)

    def keep(self, number: int, frame: np.ndarray, detections: np.ndarray) -> None:
        """Copy the regions around detections [N, 5] in frame `number`, BGR uint8 [H, W, 3], while there is room."""
        height, width = frame.shape[:2]
        for x1, y1, x2, y2 in tracking_boxes(detections)[:, :4].astype(int).tolist():
            half = int(max(x2 - x1, y2 - y1) * SCALE * MARGIN) // 2 + 1
            centre_x, centre_y = (x1 + x2) // 2, (y1 + y2) // 2
            left, top = max(centre_x - half, 0), max(centre_y - half, 0)
            right, bottom = min(centre_x + half, width), min(centre_y + half, height)
            size = 3 * max(right - left, 0) * max(bottom - top, 0)
            if size <= self.left:
                self.left -= size
                self.kept[number].append((left, top, frame[top:bottom, left:right].copy()))

    def cut(self, number: int, square: Square) -> np.ndarray | None:
        """A square of frame `number`, BGR uint8 [size, size, 3], a view; None if no region holds all of it."""
        for left, top, pixels in self.kept.get(number, ()):
            x, y = square.x - left, square.y - top
            if x >= 0 and y >= 0 and y + square.size <= pixels.shape[0] and x + square.size <= pixels.shape[1]:
                return cut(pixels, Square(x, y, square.size))
        return None
