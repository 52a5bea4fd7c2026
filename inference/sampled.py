"""What a worker process does with one video: decode sampled frames, detect, track, cut the crops that members need.

It imports no PyTorch, so a worker starts in .3 s with 100 MB. Faces are found on the CPU on every machine: 16 cores
find them faster than a GPU scores them, and the crops are always the same.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Set
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np

from common.digests import sha256
from common.images import encode_image, resize
from faces.boxes import tracking_boxes
from faces.crops import Square
from faces.detector import FaceDetector, load_detector
from faces.one_pass import Again, Faces, Submit, crop_pixels, find_faces, threads
from faces.pictures import Still, is_picture
from faces.shots import find_shots
from faces.streams import ChangedError
from faces.tracking import Track, fill_track
from faces.video import Reading, Shown, VideoInfo, probe
from inference.members import Branch, CropKind
from inference.scoring import GROUP, image_frames, sampling_interval
from inference.tally import Tally

MAX_FACES = 2
MAX_SHOTS = 64  # of a video, the longest: so many sampled shots fit into memory
POSTER_WIDTH = 640
KEPT_BYTES = 256 << 20


@dataclass
class Face:
    """A tracked face: detections and squares by sampled frame, and by kind its crops, RGB uint8 [N, side, side, 3].

    The image members' logits are averaged over `group` crops: five, or of a picture one. `decides` says whether the
    video's label depends on the face.
    """

    track: Track
    squares: list[Square]
    crops: dict[CropKind, np.ndarray]
    group: int = GROUP
    decides: bool = True


class Timing(NamedTuple):
    """When the sampled frames are shown, and when the video begins and ends, in seconds of a player's clock.

    They come from the timestamps or, where these are missing, from the frame rate.
    """

    times: list[float]
    starts: float
    duration: float
    source: Literal["timestamps", "rate"]


class Shot(NamedTuple):
    """A shot of a video: its number from 1, how many shots the video has, and its first and last frame from 0."""

    number: int
    of: int
    first: int
    last: int


@dataclass
class Sampled:
    """What a worker found in a video, or in one of its shots."""

    info: VideoInfo
    total: int  # frames that the video shows
    interval: int  # every interval-th frame was sampled
    frames: int  # how many frames were sampled
    face_frames: int  # how many of them show a face
    damaged: int  # packets that could not be decoded
    concealed: int  # frames of the video whose damage the decoder noticed and filled in
    voted_faces: int  # how many faces most sampled frames show
    voted_frames: int  # how many sampled frames show so many faces
    faces: list[Face]
    detections: int  # boxes of faces
    other_detections: int  # those that are not among `faces`
    timing: Timing
    seconds: dict[str, float]  # of a core, by stage
    shot: Shot | None = None
    sha256: str | None = None  # of the file
    poster: bytes | None = None  # JPEG of the frame that first shows the first face

    @property
    def group(self) -> int:
        """How many frames an image member's scores are averaged over."""
        return group_of(self.info)

    def frames_of(self, branch: Branch) -> list[int]:
        """Which sampled frames a branch sees."""
        return frames_of(branch, self.frames, self.info.still)

    def sources(self, face: int) -> list[int]:
        """From which sampled frame the crop of a face for each sampled frame comes: another one where it is absent."""
        return [found.frame for found in fill_track(self.faces[face].track, self.frames)]


def group_of(info: VideoInfo) -> int:
    """How many frames an image member's scores of a video are averaged over; of a picture there is one."""
    return 1 if info.still else GROUP


def frames_of(branch: Branch, frames: int, still: bool = False) -> list[int]:
    """Which sampled frames a branch sees (contract, section 3): all, or whole groups of five spread over the video.

    Of a picture (`still`), the image members see the only frame, the video members nothing.
    """
    if still:
        return [0] if branch == "image" else []
    return image_frames(frames) if branch == "image" else list(range(frames))


def sample(
    video: Path,
    kinds: Set[CropKind],
    wanted: int,
    weights: Path,
    cores: int,
    evidence: bool = False,
    by_shots: bool = False,
    faces: int = MAX_FACES,
    decide_by: int = MAX_FACES,
    tally: Tally | None = None,
) -> list[Sampled]:
    """Find the faces of a video or picture in at most `wanted` frames and cut their crops, on `cores` cores.

    With `by_shots` it does so for each shot; else the video is one. With `evidence` it also makes a poster and the
    file's sha256. `faces` beyond two are those that the contract leaves out; they decide the label only with a greater
    `decide_by`. `tally` gets the number of frames while it works.

    Raises the exceptions of `common.stage.FAILURES`, among them UnsupportedError, DecodeError, FileNotFoundError, and
    ChangedError if the file is not the same at the end.
    """
    before, began = identity(video), time.thread_time()
    still = Still(video) if is_picture(video) else None
    info, detector = still.info if still else probe(video), load_detector(weights, "cpu")
    with threads(cores) as (submit, ahead):
        worker = Worker(
            *(video, info, kinds, wanted, detector, submit, ahead, cores == 1, evidence, began),
            *(faces, decide_by, tally),
        )
        if still:
            found = [worker.look(still, still, 1, again=still.again)]
        elif by_shots:
            found = list(worker.shots())
        else:
            found = [worker.whole(info.frames)]
            if found[0].interval != sampling_interval(found[0].total, wanted):  # the packets told another number
                found = [worker.whole(found[0].total)]
    digest = sha256(video) if evidence else None
    if identity(video) != before:
        raise ChangedError(f"{video}: the file changed while it was read")
    return [replace(part, sha256=digest) for part in found]


def identity(path: Path) -> tuple[int, ...]:
    """What tells whether a file is still the same one and was not written to: device, inode, size, both times."""
    facts = path.stat()
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


@dataclass
class Worker:
    """What `sample` knows before it decodes.

    `here` says that this thread itself runs the detector, `since` when it began with what the next look includes.
    """

    video: Path
    info: VideoInfo
    kinds: Set[CropKind]
    wanted: int
    detector: FaceDetector
    submit: Submit
    ahead: int
    here: bool
    evidence: bool
    since: float
    faces: int
    decide_by: int
    tally: Tally | None

    def whole(self, frames: int) -> Sampled:
        """Sample the video as one that shows so many frames."""
        interval = sampling_interval(frames, self.wanted)
        reading = Reading(self.video, self.info, lambda number: number % interval == 0)
        return self.look(reading, reading, interval)

    def shots(self) -> Iterator[Sampled]:
        """Sample the shots of the video, at most MAX_SHOTS, in two passes over its frames."""
        whole = Reading(self.video, self.info)
        shots = find_shots(whole)
        longest = sorted(range(len(shots)), key=lambda at: -len(shots[at]))[:MAX_SHOTS]
        plan = {at: shots[at][:: sampling_interval(len(shots[at]), self.wanted)] for at in sorted(longest)}
        numbers = {number for chosen in plan.values() for number in chosen}
        frames = iter(Reading(self.video, self.info, numbers.__contains__))
        for at, chosen in plan.items():
            shot = Shot(at + 1, len(shots), shots[at][0], shots[at][-1])
            yield self.look(islice(frames, len(chosen)), whole, chosen.step, shot)

    def look(
        self,
        frames: Iterable[Shown],
        whole: Reading | Still,
        interval: int,
        shot: Shot | None = None,
        again: Again | None = None,
    ) -> Sampled:
        """Find, track and cut the faces in frames; `whole` has read the video to its end when these end."""
        began, detecting = self.since, Stopwatch()
        faces = find_faces(
            *(self.video, self.info, frames, self.detector, detecting.around(self.submit), self.ahead),
            on_frames=self.counter(interval),
            keep=KEPT_BYTES,
            max_faces=min(self.faces, MAX_FACES),
            more_faces=max(self.faces - MAX_FACES, 0),
            again=again,
        )
        decoded = time.thread_time()
        tracks = faces.tracking.tracks
        crops = cut_crops(faces, self.kinds)
        decide = self.decide_by if self.decide_by > MAX_FACES else min(self.decide_by, faces.tracking.chosen)
        found = [
            Face(*face, group_of(self.info), at < decide)
            for at, face in enumerate(zip(tracks, faces.squares, crops, strict=True))
        ]
        poster = frame_as_jpeg(faces, tracks[0][0].frame) if self.evidence and found else None
        boxes = sum(len(tracking_boxes(frame)) for frame in faces.detections)
        self.since = time.thread_time()
        return Sampled(
            info=self.info,
            total=whole.frames,
            interval=interval,
            frames=faces.frames,
            face_frames=faces.frames_with_faces,
            damaged=whole.damaged,
            concealed=whole.concealed,
            voted_faces=faces.tracking.voted_faces,
            voted_frames=faces.tracking.voted_frames,
            faces=found,
            detections=boxes,
            other_detections=boxes - sum(len(track) for track in tracks),
            timing=timing(faces, whole),
            shot=shot,
            poster=poster,
            seconds={
                "decode": decoded - began - (detecting.seconds if self.here else 0),
                "detect": detecting.seconds,
                "track and crop": self.since - decoded,
            },
        )

    def counter(self, interval: int) -> Callable[[int], None]:
        """A function that adds frames to the tally, of as many as there are at this interval."""
        tally, done, of = self.tally, [0], -(-self.info.frames // interval)
        if tally is None:
            return lambda count: None

        def count(frames: int) -> None:
            done[0] += frames
            tally.write(done[0], of)

        return count


def timing(faces: Faces, whole: Reading | Still) -> Timing:
    """The timing of the sampled frames of a video that was read to its end."""
    times = [time for time in faces.times if time is not None]
    if len(times) == faces.frames:
        return Timing(times, whole.first or 0.0, whole.duration, "timestamps")
    frame = 1 / faces.info.fps if faces.info.fps else 0.0
    return Timing([number * frame for number in faces.numbers], 0.0, whole.frames * frame, "rate")


def cut_crops(faces: Faces, kinds: Set[CropKind]) -> list[dict[CropKind, np.ndarray]]:
    """Each face's crops of each kind, cut only from the frames that the kind's branch sees."""
    still = faces.info.still
    seen_by = {branch: frames_of(branch, faces.frames, still) for branch in {kind.branch for kind in kinds}}
    places = {branch: {frame: at for at, frame in enumerate(frames)} for branch, frames in seen_by.items()}
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


def frame_as_jpeg(faces: Faces, at: int) -> bytes:
    """The JPEG of the frame that was sampled as number `at`, scaled to POSTER_WIDTH."""
    _, frame = next(faces.again({faces.numbers[at]}))
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
