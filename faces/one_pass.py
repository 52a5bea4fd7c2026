"""Stages 1 to 3 on one video without a frame on disk: decode, detect, track, cut.

Memory holds a few frames under way, the detections, and up to KEPT_BYTES of pixels around them. Some crops lie outside
these pixels, as when a face comes close or a video is long. They are cut in a second decoding.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from faces.aligned import face_files
from faces.boxes import tracking_boxes
from faces.crops import SCALE, Crop, Square, cut, plan_crops
from faces.detector import FaceDetector
from faces.stills import Still
from faces.tracking import Tracking, track_faces
from faces.video import Reading, Shown, VideoInfo, in_batches

KEPT_BYTES = 512 << 20
UNDER_WAY_BYTES = 256 << 20  # of frames between decoder and detector
# Side of the region that is kept around a face, over the side of the box's own crop. The region is larger because a
# crop has the size of its track's largest one. With this margin, 17 of the sample clips' 1,819 crops lie outside.
MARGIN = 1.5

OnFrames = Callable[[int], None]
Submit = Callable[..., Future[Any]]
Again = Callable[[Collection[int]], Iterator[tuple[int, np.ndarray]]]


@dataclass(frozen=True)
class Finder:
    """How faces are found: by which detector, on which threads, how many, and what is kept meanwhile.

    `submit` runs the detector's calls, up to `ahead` of them at a time. `on_frames` gets the number of frames after
    each call. Up to `keep` bytes of pixels are kept. At most `max_faces` tracks are kept, and up to `more_faces` others
    (`faces.tracking.track_faces`).
    """

    detector: FaceDetector
    submit: Submit
    ahead: int
    keep: int = KEPT_BYTES
    max_faces: int | None = None
    more_faces: int = 0
    on_frames: OnFrames = lambda frames: None


@dataclass
class Faces:
    """What one pass found in some frames of a video; frames are counted from 0 among those used."""

    info: VideoInfo
    numbers: list[int]  # which frames of the video were used
    times: list[float | None]  # when they are shown, as faces.video.Shown says
    detections: list[np.ndarray]  # [N, 5] for each frame
    tracking: Tracking
    squares: list[list[Square]]  # of each track, in each frame
    crops: dict[int, list[Crop]]  # what to cut from each frame
    regions: "Regions"
    again: Again  # reads some frames once more

    @property
    def frames(self) -> int:
        """How many frames were used."""
        return len(self.detections)

    @property
    def frames_with_faces(self) -> int:
        """How many of the frames show a face that tracking uses."""
        return sum(len(tracking_boxes(frame)) > 0 for frame in self.detections)


def find_faces(frames: Iterable[Shown], reading: Reading | Still, finder: Finder) -> Faces:
    """Detect and track the faces in frames of a video; `reading` reads some of them once more.

    Raises UnsupportedError or DecodeError as the reading of the frames does.
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
        numbers += [shown.number for shown in batch]
        times += [shown.time for shown in batch]
        images = [shown.image for shown in batch]
        under_way.append((images, finder.submit(finder.detector.detect, images)))
        if len(under_way) >= min(finder.ahead, max(UNDER_WAY_BYTES // (len(images) * images[0].nbytes), 1)):
            take()
    while under_way:
        take()
    info = reading.info
    tracking = track_faces(detections, finder.max_faces, finder.more_faces)
    squares, crops = plan_crops(tracking.tracks, len(detections), info.width, info.height)
    return Faces(info, numbers, times, detections, tracking, squares, crops, regions, reading.again)


def crop_files(faces: Faces, submit: Submit, ahead: int) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every crop's files; `submit` encodes them, up to `ahead` frames at a time."""
    under_way: deque[Future[list[tuple[str, bytes]]]] = deque()
    for pixels in crop_pixels(faces):
        under_way.append(submit(lambda pixels=pixels: list(face_files(pixels))))
        if len(under_way) >= ahead:
            yield from under_way.popleft().result()
    for future in under_way:
        yield from future.result()


def crop_pixels(faces: Faces) -> Iterator[list[tuple[Crop, np.ndarray]]]:
    """Yield, for each frame with crops, the crops and their pixels: first from memory, then from a second decoding."""
    again: dict[int, list[Crop]] = {}
    for number in sorted(faces.crops):
        crops = faces.crops[number]
        images = [faces.regions.cut(number, crop.square) for crop in crops]
        kept = [(crop, image) for crop, image in zip(crops, images, strict=True) if image is not None]
        if len(kept) < len(crops):
            again[number] = crops
        else:
            yield kept
    places = {faces.numbers[at]: at for at in again}
    for number, frame in faces.again(places.keys()):
        yield [(crop, cut(frame, crop.square)) for crop in again[places[number]]]


@contextmanager
def threads(count: int) -> Iterator[tuple[Submit, int]]:
    """Yield a function that runs calls on `count` threads, and how many calls to run ahead.

    The threads work beside this one. With a `count` of 1, this thread runs the calls itself.
    """
    if count == 1:
        yield run_now, 1
        return
    with ThreadPoolExecutor(count) as pool:
        yield pool.submit, 2 * count


def run_now(work: Callable[..., Any], *arguments: object) -> Future[Any]:
    """Call `work` at once; return its result, or its exception, as a future that is done."""
    future: Future[Any] = Future()
    try:
        future.set_result(work(*arguments))
    except Exception as error:
        future.set_exception(error)
    return future


class Regions:
    """Regions of frames around the detections that tracking uses; those beyond `limit` bytes are not kept."""

    def __init__(self, limit: int) -> None:
        self.left = limit
        self.kept: dict[int, list[tuple[int, int, np.ndarray]]] = defaultdict(list)

    def keep(self, number: int, frame: np.ndarray, detections: np.ndarray) -> None:
        """Copy the regions of a frame's detections [N, 5], while there is room."""
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
        """The pixels of a square of frame `number`, or None if no region holds all of it."""
        for left, top, pixels in self.kept.get(number, ()):
            x, y = square.x - left, square.y - top
            if x >= 0 and y >= 0 and y + square.size <= pixels.shape[0] and x + square.size <= pixels.shape[1]:
                return cut(pixels, Square(x, y, square.size))
        return None
