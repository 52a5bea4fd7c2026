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
from typing import Any

import cv2

from common.files import sha256
from common.images import encode_image
from faces.boxes import tracking_boxes
from faces.content_credentials import manifest_facts
from faces.detector import FaceDetector, load_detector
from faces.file_facts import file_facts
from faces.masks import (
    ALIKE,
    NOTHING,
    Boxes,
    Known,
    agreement,
    face_by_mask,
    only,
    read_boxes,
    without_checked,
    write_boxes,
)
from faces.one_pass import Again, Faces, Submit, find_faces, threads
from faces.shots import find_shots
from faces.stills import Still, is_picture
from faces.streams import ChangedError
from faces.tracking import fill_track
from faces.video import Reading, Shown, VideoInfo, probe
from inference.members import CropKind
from inference.sampling.cutting import Kept, cut_crops, formed_of, measured
from inference.sampling.perturbed import BORDER_CUT, NAMES, border_cut, forms_of, needed
from inference.sampling.sampled import MAX_FACES, Face, Formed, Sampled, Shot, Timing, frames_of, group_of
from inference.sampling.tally import Tally
from inference.scoring import VIDEO_FRAMES, sampling_interval

MAX_SHOTS = 64  # of a video, the longest: so many sampled shots fit into memory
OTHERS = 4  # faces beyond those of the contract among which a mask chooses
POSTER_WIDTH = 640
KEPT_BYTES = 256 << 20


@dataclass(frozen=True)
class Wanted:
    """What to look for in videos, and how. `kinds` are the crops to cut, `weights` the detector's.

    `faces` beyond two are those that the contract leaves out; they decide the label only with a greater `decide_by`.
    """

    kinds: Set[CropKind]
    weights: Path
    frames: int = VIDEO_FRAMES  # sampled of a video, at most
    cores: int = 1
    faces: int = MAX_FACES
    decide_by: int = MAX_FACES
    by_shots: bool = False  # look at each shot as if it were a video
    evidence: bool = False  # also make a poster, and the file's sha256
    first: bool = False  # sample the first frames, instead of some spread over the video
    stability: bool = False  # also cut the crops of other forms of the video, for the image members


def sample(video: Path, wanted: Wanted, tally: Tally | None = None, known: Known = NOTHING) -> list[Sampled]:
    """Find the faces of a video or picture, or of each of its shots, and cut their crops.

    `tally` gets the number of frames while it works. What is `known` counts for whole videos. Raises the exceptions of
    `common.stage.FAILURES`, among them UnsupportedError, DecodeError, FileNotFoundError, and ChangedError if the file
    is not the same at the end.
    """
    before, began = identity(video), time.thread_time()
    still = Still(video) if is_picture(video) else None
    info, detector = still.info if still else probe(video), load_detector(wanted.weights, "cpu")
    with threads(wanted.cores) as (submit, ahead):
        worker = Worker(video, info, wanted, detector, submit, ahead, began, tally, known)
        if still:
            found = [worker.look(still, still, 1, again=still.again)]
        elif wanted.by_shots:
            found = list(worker.shots())
        else:
            found = [worker.whole(info.frames)]
            if found[0].interval != worker.interval(found[0].total):  # the packets told another number
                found = [worker.whole(found[0].total)]
    digest = sha256(video) if wanted.evidence else None
    facts = file_facts(video, info.stream) if wanted.evidence and not still else []
    facts += manifest_facts(video) if wanted.evidence else []
    if identity(video) != before:
        raise ChangedError(f"{video}: the file changed while it was read")
    return [replace(part, sha256=digest, file=facts) for part in found]


def identity(path: Path) -> tuple[int, ...]:
    """What tells whether a file is still the same one and was not written to: device, inode, size, both times."""
    facts = path.stat()
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


@dataclass
class Worker:
    """What `sample` knows before it decodes; `since` is when it began with what the next look includes."""

    video: Path
    info: VideoInfo
    wanted: Wanted
    detector: FaceDetector
    submit: Submit
    ahead: int
    since: float
    tally: Tally | None
    known: Known

    def interval(self, frames: int) -> int:
        """Of how many frames one is sampled in a video that shows so many."""
        return 1 if self.wanted.first else sampling_interval(frames, self.wanted.frames)

    def whole(self, frames: int) -> Sampled:
        """Sample the video as one that shows so many frames."""
        interval, said, detecting = self.interval(frames), dict[str, str](), Stopwatch()
        boxes: Boxes = {}
        if self.known.boxes:
            boxes, why = read_boxes(self.known.boxes, self.info)
            said["boxes"] = why
        reading = self.read(interval)
        faces = self.find(reading, interval, detecting, known=without_checked(boxes))
        if boxes:
            alike = agreement(faces, boxes)
            said |= {"boxes": "reused" if alike == 1 else "reused, a little apart", "iou": f"{alike:.4f}"}
            if alike < ALIKE:
                said["boxes"], reading = "elsewhere than its original's", self.read(interval)
                faces = self.find(reading, interval, detecting)
        if self.known.keep_boxes:
            write_boxes(self.known.keep_boxes, faces, reading.frames)
        if self.known.mask:
            faces, said["mask"] = self.marked(faces, self.known.mask)
        return replace(self.conclude(faces, reading, interval, detecting), by_known=said)

    def read(self, interval: int) -> Reading:
        """Read one frame in so many, or only the first ones."""
        last = self.wanted.frames if self.wanted.first else None
        return Reading(self.video, self.info, lambda number: number % interval == 0 and (last is None or number < last))

    def marked(self, faces: Faces, mask: Path) -> tuple[Faces, str]:
        """The face that a mask marks, alone, or those that are scored without a mask; and what became of the mask."""
        chosen, why = face_by_mask(faces, mask)
        if chosen is not None:
            one = only(faces, [chosen])
            return replace(one, tracking=one.tracking._replace(chosen=1)), "used"
        kept = faces.tracking.chosen + max(self.wanted.faces - MAX_FACES, 0)
        return only(faces, range(min(kept, len(faces.tracking.tracks)))), why

    def shots(self) -> Iterator[Sampled]:
        """Sample the shots of the video, at most MAX_SHOTS, in two passes over its frames."""
        whole = Reading(self.video, self.info)
        shots = find_shots(whole)
        longest = sorted(range(len(shots)), key=lambda at: -len(shots[at]))[:MAX_SHOTS]
        plan = {at: shots[at][:: sampling_interval(len(shots[at]), self.wanted.frames)] for at in sorted(longest)}
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
        detecting = Stopwatch()
        return self.conclude(self.find(frames, interval, detecting, again), whole, interval, detecting, shot)

    def find(
        self,
        frames: Iterable[Shown],
        interval: int,
        detecting: "Stopwatch",
        again: Again | None = None,
        known: Boxes | None = None,
    ) -> Faces:
        """Find and track the faces in frames; with a mask, others too, among which it chooses."""
        wanted = self.wanted
        others = OTHERS if self.known.mask and not wanted.by_shots else 0
        return find_faces(
            *(self.video, self.info, frames, self.detector, detecting.around(self.submit), self.ahead),
            on_frames=self.counter(interval),
            keep=KEPT_BYTES,
            max_faces=min(wanted.faces, MAX_FACES),
            more_faces=max(wanted.faces - MAX_FACES, 0) + others,
            again=again,
            known=known,
        )

    def conclude(
        self, faces: Faces, whole: Reading | Still, interval: int, detecting: "Stopwatch", shot: Shot | None = None
    ) -> Sampled:
        """Cut the crops of faces, and say what was found."""
        wanted, began = self.wanted, self.since
        decoded = time.thread_time()
        tracks = faces.tracking.tracks
        kept = Kept(needed(faces.frames, self.info.still) if wanted.stability else [], len(tracks))
        crops = cut_crops(faces, wanted.kinds, kept)
        decide = wanted.decide_by if wanted.decide_by > MAX_FACES else min(wanted.decide_by, faces.tracking.chosen)
        found = [
            Face(*face, group_of(self.info), at < decide)
            for at, face in enumerate(zip(tracks, faces.squares, crops, strict=True))
        ]
        poster = frame_as_jpeg(faces, tracks[0][0].frame) if wanted.evidence and found else None
        boxes = sum(len(tracking_boxes(frame)) for frame in faces.detections)
        conditions = measured([face for face in found if face.decides], self.info)
        forms = self.forms(faces, found, kept) if wanted.stability and found else {}
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
            first=wanted.first,
            poster=poster,
            conditions=conditions,
            forms=forms,
            seconds={
                "decode": decoded - began - (detecting.seconds if wanted.cores == 1 else 0),
                "detect": detecting.seconds,
                "track and crop": self.since - decoded,
            },
        )

    def forms(self, faces: Faces, found: list[Face], kept: Kept) -> dict[str, Formed]:
        """The video in other forms, those for which all faces have crops."""
        frames, still = faces.frames, self.info.still
        by_face = [forms_of(squares, frames, still) for squares in kept.squares]
        seen = frames_of("image", frames, still)
        if seen:
            images = (image for _, image in faces.again({faces.numbers[frame] for frame in seen}))
            filled = [fill_track(face.track, frames) for face in found]
            boxes = [[track[frame] for frame in seen] for track in filled]
            for forms, squares in zip(by_face, border_cut(images, boxes, self.detector.detect), strict=True):
                forms[BORDER_CUT] = squares
        return {
            name: formed_of(found, [forms[name] for forms in by_face], self.wanted.kinds, self.info)
            for name in NAMES
            if all(forms.get(name) for forms in by_face)
        }

    def counter(self, interval: int) -> Callable[[int], None]:
        """A function that adds frames to the tally, of as many as there are at this interval."""
        done, of = 0, -(-self.info.frames // interval)

        def count(frames: int) -> None:
            nonlocal done
            done += frames
            if self.tally:
                self.tally.write(done, of)

        return count


def timing(faces: Faces, whole: Reading | Still) -> Timing:
    """The timing of the sampled frames of a video that was read to its end."""
    times = [time for time in faces.times if time is not None]
    if len(times) == faces.frames:
        return Timing(times, whole.first or 0.0, whole.duration, "timestamps")
    frame = 1 / faces.info.fps if faces.info.fps else 0.0
    return Timing([number * frame for number in faces.numbers], 0.0, whole.frames * frame, "rate")


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
