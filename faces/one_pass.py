"""Stages 1 to 3 on one video without a frame on disk: decode, detect, track, cut.

Memory holds a few frames under way, the detections, and up to KEPT_BYTES of pixels around them. Some crops lie outside
these pixels, as when a face comes close or a video is long. They are cut in a second decoding.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from faces.aligned import face_files
from faces.boxes import tracking_boxes
from faces.crops import Crop, Square, cut, plan_crops
from faces.detector import FaceDetector
from faces.regions import Regions
from faces.tracking import Tracking, track_faces
from faces.video import Shown, VideoInfo, in_batches, read_some

KEPT_BYTES = 512 << 20
UNDER_WAY_BYTES = 256 << 20  # of frames between decoder and detector

OnFrames = Callable[[int], None]
Submit = Callable[..., Future[Any]]
Again = Callable[[Collection[int]], Iterator[tuple[int, np.ndarray]]]


@dataclass
class Faces:
    """What one pass found in some frames of a video; frames are counted from 0 among those used."""

    video: Path
    info: VideoInfo
    numbers: list[int]  # which frames of the video were used
    times: list[float | None]  # when they are shown, as faces.video.Shown says
    detections: list[np.ndarray]  # [N, 5] for each frame
    tracking: Tracking
    squares: list[list[Square]]  # of each track, in each frame
    crops: dict[int, list[Crop]]  # what to cut from each frame
    regions: Regions
    again: Again  # reads some frames once more

    @property
    def frames(self) -> int:
        return len(self.detections)

    @property
    def frames_with_faces(self) -> int:
        """How many of the frames show a face that tracking uses."""
        return sum(len(tracking_boxes(frame)) > 0 for frame in self.detections)


def find_faces(
    video: Path,
    info: VideoInfo,
    frames: Iterable[Shown],
    detector: FaceDetector,
    submit: Submit,
    ahead: int,
    on_frames: OnFrames,
    keep: int = KEPT_BYTES,
    max_faces: int | None = None,
    more_faces: int = 0,
    again: Again | None = None,
    known: Mapping[int, np.ndarray] | None = None,
) -> Faces:
    """Detect and track the faces in frames of a video, as a `faces.video.Reading` yields them.

    `submit` runs the detector's calls, up to `ahead` of them at a time. `on_frames` gets the number of frames after
    each call. Up to `keep` bytes of pixels are kept. At most `max_faces` tracks are kept, and up to `more_faces` others
    (`faces.tracking.track_faces`). `again` reads some frames once more, by default from the video. Of the frames whose
    numbers are in `known`, the detections are taken from there.

    Raises UnsupportedError or DecodeError as the reading does.
    """
    numbers: list[int] = []
    times: list[float | None] = []
    detections: list[np.ndarray] = []
    regions = Regions(keep)
    under_way: deque[tuple[list[np.ndarray], Future[list[np.ndarray]]]] = deque()

    def take() -> None:
        images, future = under_way.popleft()
        for image, boxes in zip(images, future.result(), strict=True):
            regions.keep(len(detections), image, boxes)
            detections.append(boxes)
        on_frames(len(images))

    for batch in in_batches(frames, detector.batch):
        numbers += [shown.number for shown in batch]
        times += [shown.time for shown in batch]
        images = [shown.image for shown in batch]
        taken = [known[shown.number] for shown in batch if known and shown.number in known]
        future = run_now(lambda taken=taken: taken) if len(taken) == len(batch) else submit(detector.detect, images)
        under_way.append((images, future))
        if len(under_way) >= min(ahead, max(UNDER_WAY_BYTES // (len(images) * images[0].nbytes), 1)):
            take()
    while under_way:
        take()
    tracking = track_faces(detections, max_faces, more_faces)
    squares, crops = plan_crops(tracking.tracks, len(detections), info.width, info.height)
    again = again or partial(read_some, video, info)
    return Faces(video, info, numbers, times, detections, tracking, squares, crops, regions, again)


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
