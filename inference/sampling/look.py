"""What a worker process does with one video: find its faces, cut their crops, and describe what was seen.

It does not import PyTorch, so a worker starts in 0.3 s and takes 100 MB. Faces are found on the CPU on every machine:
16 cores find them faster than a GPU scores them, and the crops are always the same.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from common.errors import BadInputError
from common.files import sha256
from common.images import encode_image, resize
from faces.boxes import tracking_boxes
from faces.content_credentials import provenance_facts
from faces.detector import load_detector
from faces.one_pass import Faces, Finder, Submit, crop_pixels, find_faces, threads
from faces.shots import find_shots
from faces.stills import Still
from faces.streams import ChangedError
from faces.video import Frame, Reading, VideoInfo, probe
from faces.video_files import is_picture
from inference.members import CropKind, frames_seen, group_size
from inference.sampling.sampled import Conditions, Face, Sampled, Shot, Timing
from inference.sampling.tally import Tally
from inference.scoring import sampling_interval
from inference.settings import MAX_FACES, Settings

MAX_SHOTS = 64  # shots of a video that are sampled, the longest ones, so that they fit into memory
POSTER_WIDTH = 640
KEPT_BYTES = 256 << 20  # of pixels around faces
MEASURED_SIDE = 128  # pixels to which a crop is scaled before it is measured
MEASURED = 16  # crops of a face that are measured, spread over the video


@dataclass(frozen=True)
class Wanted:
    """What to look for in videos: the settings, the kinds of crops, the detector, and the number of cores to use."""

    settings: Settings
    kinds: Set[CropKind]
    detector_weights: Path
    cores: int = 1


class Kept:
    """The squares of each face, BGR uint8 [S, S, 3], in some sampled frames: those that perturbed versions need."""

    def __init__(self, frames: Iterable[int], faces: int) -> None:
        self.frames = frozenset(frames)
        self.squares: list[dict[int, np.ndarray]] = [{} for _ in range(faces)]


class Choose(Protocol):
    """Chooses the faces to score among those that were found, as `quality.masks.ByMask` does."""

    @property
    def others(self) -> int:
        """How many faces to find in addition to those that would be scored anyway."""

    def __call__(self, faces: Faces, most: int) -> tuple[Faces, dict[str, str]]:
        """The faces to score (`most` of them, unless it chooses others), and what became of the choice."""


@dataclass(frozen=True)
class Part:
    """A video, a shot of it, or a still image.

    `frames` yields one in `interval` of its frames. When they end, `reading` has read the whole video.
    """

    frames: Iterable[Frame]
    reading: Reading | Still
    interval: int
    shot: Shot | None = None


def sample(video: Path, wanted: Wanted, tally: Tally | None = None, choose: Choose | None = None) -> list[Sampled]:
    """Find the faces of a video or still image, or of each shot of a video, and cut their crops.

    `tally` counts the frames meanwhile. `choose` applies to whole videos. Raises the exceptions of
    `common.workers.FAILURES`, among them UnsupportedError, DecodeError, FileNotFoundError, and ChangedError if the file
    changed while it was read.
    """
    if choose and wanted.settings.screen:
        raise BadInputError(
            f"{video}: a mask chooses faces in all frames, and --screen does not look at all: leave it out"
        )
    before, spent, most = identity(video), Spent(), wanted.settings.max_frames
    with threads(wanted.cores) as (submit, ahead):
        with spent.on("decode"):
            still = Still(video) if is_picture(video) else None
            finder = finder_for(wanted, submit, ahead)
        look_at = partial(look, wanted=wanted, finder=finder, spent=spent, tally=tally)
        if still:
            sampled = [look_at(Part(still, still, 1))]
        elif wanted.settings.screen and (screened := screen_video(video, wanted, finder, spent, tally)):
            sampled = [screened]
        else:
            with spent.on("decode"):
                info = probe(video)
            if wanted.settings.shots:
                sampled = [look_at(part) for part in shots_of(video, info, most, spent)]
            else:
                sampled = [look_at(whole(video, info, info.frames, most), choose=choose)]
                if sampled[0].interval != sampling_interval(sampled[0].total, most):  # the packets promised otherwise
                    sampled = [look_at(whole(video, info, sampled[0].total, most), choose=choose)]
    if wanted.settings.evidence:
        from faces.history import file_history  # only evidence needs it

        info = sampled[0].info
        digest, facts = sha256(video), provenance_facts(video, None if info.still else info.stream)
        history = file_history(video, info)
        sampled = [replace(part, sha256=digest, file=facts, history=history) for part in sampled]
    if identity(video) != before:
        raise ChangedError(f"{video}: the file changed while it was read")
    return sampled


def identity(path: Path) -> tuple[int, ...]:
    """What shows that a file was replaced or written to: device, inode, size, and both times."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def finder_for(wanted: Wanted, submit: Submit, ahead: int) -> Finder:
    """How faces are found for these settings."""
    most = wanted.settings.max_faces
    return Finder(
        detector=load_detector(wanted.detector_weights, "cpu"),
        submit=submit,
        ahead=ahead,
        keep=KEPT_BYTES,
        max_faces=min(most, MAX_FACES),
        more_faces=max(most - MAX_FACES, 0),
    )


def whole(video: Path, info: VideoInfo, frames: int, most: int) -> Part:
    """A whole video of `frames` frames, of which at most `most` are sampled."""
    interval = sampling_interval(frames, most)
    reading = Reading(video, info, lambda number: number % interval == 0)
    return Part(reading, reading, interval)


def shots_of(video: Path, info: VideoInfo, most: int, spent: "Spent") -> Iterator[Part]:
    """The longest shots of a video, at most MAX_SHOTS, in order; takes two passes over its frames."""
    reading = Reading(video, info)
    with spent.on("decode"):
        shots = find_shots(reading)
    longest = sorted(range(len(shots)), key=lambda index: -len(shots[index]))[:MAX_SHOTS]
    sampled = {index: shots[index][:: sampling_interval(len(shots[index]), most)] for index in sorted(longest)}
    wanted_frames = {number for numbers in sampled.values() for number in numbers}
    frames = iter(Reading(video, info, wanted_frames.__contains__))
    for index, numbers in sampled.items():
        shot = Shot(index + 1, len(shots), shots[index][0], shots[index][-1])
        yield Part(islice(frames, len(numbers)), reading, numbers.step, shot)


def screen_video(video: Path, wanted: Wanted, finder: Finder, spent: "Spent", tally: Tally | None) -> Sampled | None:
    """What a screening sees of a video; None if it is too short for one."""
    from inference.sampling.screen import MOST_DETECTED, Screening, screen  # only --screen needs it

    def cut_group(faces: Faces) -> list[Face]:
        with spent.on("track and crop"):
            return cut(faces, wanted)

    finder = replace(
        finder,
        submit=spent.measured(finder.submit),
        on_frames=tally.counter(MOST_DETECTED) if tally else finder.on_frames,
    )
    poster = partial(frame_as_jpeg, index=0) if wanted.settings.evidence else None
    with spent.on("decode"):
        sampled = screen(video, Screening(finder, load_detector(wanted.detector_weights, "cpu"), cut_group, poster))
    seconds = spent.taken(nested=wanted.cores == 1)
    if sampled is None:
        return None
    seconds["decode"] -= seconds["track and crop"]
    scored = [face for face in sampled.faces if face.decides]
    return replace(sampled, seconds=seconds, conditions=conditions_of(scored, sampled.info.bits_per_pixel))


def look(
    part: Part,
    wanted: Wanted,
    finder: Finder,
    spent: "Spent",
    tally: Tally | None = None,
    choose: Choose | None = None,
) -> Sampled:
    """Find the faces in the frames of a part, cut their crops, and describe what was seen."""
    with spent.on("decode"):
        faces = find(part, finder, spent, tally, choose.others if choose else 0)
    with spent.on("track and crop"):
        chosen_by = dict[str, str]()
        if choose:
            faces, chosen_by = choose(faces, faces.tracking.chosen + finder.more_faces)
        if wanted.settings.stability:
            sampled = with_perturbed(part, faces, wanted, finder)
        else:
            sampled = describe(part, faces, cut(faces, wanted))
        if wanted.settings.evidence and sampled.faces:
            sampled = replace(sampled, poster=frame_as_jpeg(faces, sampled.faces[0].track[0].frame))
    return replace(sampled, chosen_by=chosen_by, seconds=spent.taken(nested=wanted.cores == 1))


def find(part: Part, finder: Finder, spent: "Spent", tally: Tally | None, others: int) -> Faces:
    """Find and track the faces in the frames of a part: those that the finder looks for, and `others` more."""
    info = part.reading.info
    count = tally.counter(-(-info.frames // part.interval)) if tally else finder.on_frames
    submit, more = spent.measured(finder.submit), finder.more_faces + others
    return find_faces(part.frames, part.reading, replace(finder, submit=submit, on_frames=count, more_faces=more))


def with_perturbed(part: Part, faces: Faces, wanted: Wanted, finder: Finder) -> Sampled:
    """What was seen in a part and in its perturbed versions."""
    from inference.sampling.perturbed import frames_needed, perturbed_faces  # only --stability needs it

    kept = Kept(frames_needed(faces), len(faces.squares))
    sampled = describe(part, faces, cut(faces, wanted, kept))
    if not sampled.faces:
        return sampled
    perturbed = perturbed_faces(faces, sampled.faces, kept, wanted.kinds, finder.detector)
    return replace(sampled, perturbed=perturbed)


def cut(faces: Faces, wanted: Wanted, kept: Kept | None = None) -> list[Face]:
    """The faces with their crops; those that decide the label come first."""
    crops = cut_crops(faces, wanted.kinds, kept or Kept((), len(faces.squares)))
    wish, group = wanted.settings.decision_faces, group_size(faces.info.still)
    deciding = wish if wish > MAX_FACES else min(wish, faces.tracking.chosen)
    return [
        Face(track=track, squares=squares, crops=of_face, group=group, decides=index < deciding)
        for index, (track, squares, of_face) in enumerate(zip(faces.tracking.tracks, faces.squares, crops, strict=True))
    ]


def cut_crops(faces: Faces, kinds: Set[CropKind], kept: Kept) -> list[dict[CropKind, np.ndarray]]:
    """Each face's crops of each kind, RGB uint8 [N, side, side, 3].

    Only frames that a kind's branch sees, or whose squares are to be kept, are cut.
    """
    seen = {branch: frames_seen(branch, faces.frames, faces.info.still) for branch in {kind.branch for kind in kinds}}
    places = {branch: {frame: place for place, frame in enumerate(frames)} for branch, frames in seen.items()}
    needed = kept.frames.union(*places.values())
    faces.crops = {
        source: wanted
        for source, crops in faces.crops.items()
        if (wanted := [crop for crop in crops if crop.frame in needed])
    }
    cut = [
        {kind: np.empty((len(places[kind.branch]), kind.side, kind.side, 3), np.uint8) for kind in kinds}
        for _ in faces.squares
    ]
    for pixels in crop_pixels(faces):
        for crop, image in pixels:
            if crop.frame in kept.frames:
                kept.squares[crop.face][crop.frame] = image.copy()
            wanted_kinds = [kind for kind in kinds if crop.frame in places[kind.branch]]
            views = {kind[1:] for kind in wanted_kinds}  # two branches may need the same crop
            small = {(side, fraction): resize(middle(image, fraction), side) for side, fraction in views}
            for kind in wanted_kinds:
                cut[crop.face][kind][places[kind.branch][crop.frame]] = small[kind[1:]]
    return cut


def middle(image: np.ndarray, fraction: float) -> np.ndarray:
    """The middle of a square image [S, S, 3] as a view, `fraction` of its side wide."""
    side = max(round(len(image) * fraction), 1)
    start = (len(image) - side) // 2
    return image[start : start + side, start : start + side]


def conditions_of(faces: Sequence[Face], bits_per_pixel: float) -> Conditions | None:
    """The conditions of faces, measured in the crops that show most of them; None if there are no crops."""
    kinds = {kind for face in faces for kind, crops in face.crops.items() if len(crops)}
    if not kinds:
        return None
    kind = max(kinds, key=lambda kind: (kind.branch == "image", kind.crop_fraction, kind.side))
    sides = [square.size * kind.crop_fraction for face in faces for square in face.squares]
    return measure([face.crops[kind] for face in faces], sides, bits_per_pixel)


def measure(crops: Sequence[np.ndarray], sides: Sequence[float], bits_per_pixel: float | None = None) -> Conditions:
    """The conditions of crops, RGB uint8 [N, side, side, 3] per face, whose squares have these `sides` in the video.

    Crops may have any size. Raises ValueError if there is no crop.
    """
    measured = [images[:: max(-(-len(images) // MEASURED), 1)] for images in crops]
    looks = [sharpness_and_light(image) for images in measured for image in images]
    if not looks:
        raise ValueError("no crop to measure")
    sharpness, light = np.mean(looks, axis=0)
    exact = None if bits_per_pixel is None else round(bits_per_pixel, 5)
    return Conditions(round(float(np.median(sides)), 1), round(float(sharpness), 5), round(float(light), 4), exact)


def sharpness_and_light(image: np.ndarray) -> tuple[float, float]:
    """Sharpness and light of one crop, RGB uint8 [H, W, 3], both in [0, 1]."""
    size = MEASURED_SIDE, MEASURED_SIDE
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_LINEAR)
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean()) / 255, float(grey.mean()) / 255


def describe(part: Part, faces: Faces, scored: list[Face]) -> Sampled:
    """What was seen in a part, once the video was read to its end."""
    boxes = sum(len(tracking_boxes(frame)) for frame in faces.detections)
    return Sampled(
        info=faces.info,
        total=part.reading.frames,
        interval=part.interval,
        frames=faces.frames,
        face_frames=faces.frames_with_faces,
        damaged=part.reading.damaged,
        concealed=part.reading.concealed,
        losses=tuple(part.reading.losses),
        voted_faces=faces.tracking.voted_faces,
        voted_frames=faces.tracking.voted_frames,
        faces=scored,
        detections=boxes,
        other_detections=boxes - sum(len(face.track) for face in scored),
        timing=timing(faces, part.reading),
        conditions=conditions_of([face for face in scored if face.decides], faces.info.bits_per_pixel),
        shot=part.shot,
    )


def timing(faces: Faces, reading: Reading | Still) -> Timing:
    """When the sampled frames are shown, once the video was read to its end."""
    times = [seconds for seconds in faces.times if seconds is not None]
    if len(times) == faces.frames:
        return Timing(times, reading.first or 0.0, reading.duration, "timestamps")
    frame = 1 / faces.info.fps if faces.info.fps else 0.0
    return Timing([number * frame for number in faces.numbers], 0.0, reading.frames * frame, "rate")


def frame_as_jpeg(faces: Faces, index: int) -> bytes:
    """A sampled frame as JPEG, POSTER_WIDTH pixels wide."""
    _, frame = next(faces.reread({faces.numbers[index]}))
    scale = POSTER_WIDTH / frame.shape[1]
    return encode_image(cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), ".jpg")


class Spent:
    """CPU seconds by stage, over all threads that work on a video."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, float]] = []  # several threads append to it

    @contextmanager
    def on(self, stage: str) -> Iterator[None]:
        """Count this thread's seconds in the block for a stage."""
        began = time.thread_time()
        try:
            yield
        finally:
            self.spans.append((stage, time.thread_time() - began))

    def measured(self, submit: Submit) -> Submit:
        """A `submit` whose calls count for the stage `detect`."""

        def call(work: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
            with self.on("detect"):
                return work(*arguments)

        def submit_measured(work: Callable[..., Any], *arguments: object) -> Future[Any]:
            return submit(call, work, *arguments)

        return submit_measured

    def taken(self, nested: bool) -> dict[str, float]:
        """The seconds of each stage since the last call. `nested`: detection ran within the stage `decode`."""
        seconds = dict.fromkeys(("decode", "detect", "track and crop"), 0.0)
        for stage, span in self.spans:
            seconds[stage] += span
        self.spans.clear()
        seconds["decode"] -= seconds["detect"] if nested else 0.0
        return seconds
