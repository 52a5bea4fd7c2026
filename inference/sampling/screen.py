"""What a screening looks at (--screen): groups of five consecutive frames, chosen because they cost little to reach.

The reference samples a video evenly, which means to decode all of it. A screening looks at GROUPS groups behind key
frames (inference.sampling.places), tracks the faces within each group, and joins them (inference.sampling.joined).
Where the first frame of a group shows no face, it goes on elsewhere, until it has looked for faces in MOST_DETECTED
frames or decoded about MOST_DECODED. The detector sees frames at half its usual size first.

A video whose frames cannot be reached by its key frames is read from its beginning to its end, the groups spread
evenly; its notes say why. In a video of fewer than five frames there is nothing to choose, so it is seen as without
--screen, and so is a still image.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from faces.boxes import tracking_boxes
from faces.detector import FaceDetector, resize_ratio
from faces.keyframes import KeyFrames, ReadOnError, open_key_frames
from faces.one_pass import Faces, Finder, find_faces
from faces.video import Frame, Reading, VideoInfo, in_batches, probe
from inference.sampling.joined import Group, joined
from inference.sampling.places import Place, choose_places
from inference.sampling.sampled import Face, Sampled, Timing
from inference.scoring import GROUP

GROUPS = 6
MOST_DETECTED = GROUPS * GROUP
MOST_DECODED = 60
HELD_BACK = 3  # frames that a decoder decodes beyond the last one that is wanted, because it shows them later
HALF = 0.5
TINY = 24  # pixels of the detector's input at half size: if all faces are narrower, it sees the frame at full size


class GroupDetector:
    """A detector for the frames of a group, which sees the first one when it is made.

    It sees frames at half size. At full size it sees the first one if it then found nothing, or only tiny faces, and
    so it does with the others.
    """

    batch = 1

    def __init__(self, detector: FaceDetector, first: np.ndarray) -> None:
        self.detector, self.first, self.full = detector, first, False
        self.boxes = self._detect(first)
        self.full = self._is_tiny(self.boxes, first)
        if self.full:
            self.boxes = self._detect(first)

    @property
    def sees_face(self) -> bool:
        """Whether the first frame shows a face that tracking uses."""
        return len(tracking_boxes(self.boxes)) > 0

    def detect(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Find faces in frames, BGR uint8 [H, W, 3], as `FaceDetector.detect` does: float32 [N, 5] for each."""
        return [self.boxes if frame is self.first else self._detect(frame) for frame in frames]

    def _detect(self, frame: np.ndarray) -> np.ndarray:
        (boxes,) = self.detector.detect([frame], 1.0 if self.full else HALF)
        return boxes

    def _is_tiny(self, boxes: np.ndarray, frame: np.ndarray) -> bool:
        """Whether the largest face is too small to be found well at half size, or there is none."""
        found = tracking_boxes(boxes)
        return bool((found[:, 2] - found[:, 0]).max(initial=0.0) * HALF * resize_ratio(*frame.shape[:2]) < TINY)


@dataclass(frozen=True)
class Held:
    """The frames of a group, in the place of a `Reading`: they can be read again."""

    info: VideoInfo
    images: list[np.ndarray]

    def reread(self, numbers: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The frames with these numbers, in order."""
        yield from ((number, self.images[number]) for number in sorted(numbers))


class Screening:
    """The groups that a screening has looked at.

    `cut` makes the faces of what was found in a group, `poster` a picture of it, or is None.
    """

    def __init__(
        self,
        finder: Finder,
        detector: FaceDetector,
        cut: Callable[[Faces], list[Face]],
        poster: Callable[[Faces], bytes] | None,
    ) -> None:
        self.finder, self.detector, self.cut, self.poster = finder, detector, cut, poster
        self.groups: list[Group] = []

    @property
    def done(self) -> bool:
        """Whether there are enough groups with faces, or no more frames may be looked at."""
        complete = sum(len(group.times) == GROUP for group in self.groups)
        return complete >= GROUPS or sum(len(group.times) for group in self.groups) >= MOST_DETECTED

    def look(self, frames: Iterator[Frame], info: VideoInfo, stretch: int = 0) -> bool:
        """Look at the next five frames, or at one if that shows no face; return whether the video had them.

        Frames that were looked at before are passed over, as where key frames are few frames apart.
        """
        known = {time for group in self.groups for time in group.times}
        first = next((frame for frame in frames if moment(frame, info) not in known), None)
        if first is None:
            return False
        detector: GroupDetector = self.finder.submit(GroupDetector, self.detector, first.image).result()
        self.finder.on_frames(1)
        if not detector.sees_face:
            self.groups.append(Group([moment(first, info)], stretch))
            return True
        rest = list(islice(frames, GROUP - 1))
        if len(rest) < GROUP - 1 or any(moment(frame, info) in known for frame in rest):
            return False
        self.add([first, *rest], detector, info, stretch)
        self.finder.on_frames(len(rest))
        return True

    def add(self, frames: list[Frame], detector: GroupDetector, info: VideoInfo, stretch: int) -> None:
        """Find the faces in the frames of a group, and cut their crops."""
        finder = replace(self.finder, detector=detector, on_frames=lambda frames: None)
        numbered = [frame._replace(number=number) for number, frame in enumerate(frames)]
        faces = find_faces(numbered, Held(info, [frame.image for frame in frames]), finder)
        scored = self.cut(faces)
        group = Group(
            times=[moment(frame, info) for frame in frames],
            stretch=stretch,
            boxes=sum(len(tracking_boxes(boxes)) for boxes in faces.detections),
            with_faces=faces.frames_with_faces,
            voted=faces.tracking.voted_faces,
            faces=tuple(scored),
            poster=self.poster(faces) if self.poster and scored else None,
        )
        self.groups.append(group)


def moment(frame: Frame, info: VideoInfo) -> float:
    """When a frame is shown, in seconds: by its timestamp, or by the frame rate if it has none."""
    if frame.time is not None:
        return frame.time
    return frame.number / (info.fps or 1.0)


def screen(path: Path, screening: Screening) -> Sampled | None:
    """What a screening sees of a video, without its conditions; None if it has fewer than five frames.

    Raises as `faces.video.probe` and `Reading` do.
    """
    try:
        with open_key_frames(path) as reader:
            if reader.packets.shown < GROUP:
                return None
            look_behind_key_frames(reader, screening)
            timing = Timing([], reader.first, reader.info.end or 0.0, "timestamps")
            return seen(screening.groups, reader.info, reader.packets.shown, timing)
    except ReadOnError as error:
        why = f"screened by reading all of it: {error}"
    screening.groups.clear()
    info = probe(path)
    if info.frames < GROUP:
        return None
    reading = Reading(path, info, spread_groups(info.frames).__contains__)
    for frames in in_batches(reading, GROUP):
        screening.look(iter(frames), info)
    if reading.frames < GROUP or not screening.groups:  # the packets promised more
        return None
    has_times = reading.first is not None
    duration = reading.duration if has_times else reading.frames / (info.fps or 1)
    timing = Timing([], reading.first or 0.0, duration, "timestamps" if has_times else "rate")
    sampled = seen(screening.groups, info, reading.frames, timing)
    return replace(sampled, damaged=reading.damaged, concealed=reading.concealed, losses=(*reading.losses, why))


def look_behind_key_frames(reader: KeyFrames, screening: Screening) -> None:
    """Look at groups behind key frames, first where it was planned, then elsewhere if these show no face.

    Raises ReadOnError if none shows a face and there were too few key frames to look all over the video.
    """
    frame = reader.length / max(reader.packets.shown - 1, 1) or 1.0
    first, later = choose_places([key.time for key in reader.keys], reader.length, GROUPS, frame)
    spare = max(MOST_DECODED - MOST_DETECTED - HELD_BACK * len(first), 0)
    gaps = sum(place.groups - 1 for place in first)
    for place in [*first, *later]:
        is_late = place not in first and reader.decoded + GROUP + HELD_BACK > MOST_DECODED
        if screening.done or is_late:
            break
        look_behind(reader, place, screening, spare // max(gaps, 1))
    if not screening.groups:
        raise ReadOnError("too few frames behind its key frames")
    if len(first) < GROUPS and not any(group.faces for group in screening.groups):
        raise ReadOnError("no face near its few key frames")


def look_behind(reader: KeyFrames, place: Place, screening: Screening, decoded: int) -> None:
    """Look at the groups behind a key frame, spread up to the next one as far as `decoded` frames between two reach."""
    frames = reader.behind(reader.keys[place.key])
    room = reader.frames_behind(place.key) - GROUP * place.groups
    for number in range(place.groups):
        if number:
            frames.skip(max(room // (place.groups - 1) - HELD_BACK, 0), decoded)
        if screening.done or not screening.look(frames, reader.info, place.stretch):
            return


def spread_groups(frames: int) -> set[int]:
    """The numbers of the frames of up to GROUPS groups, spread evenly over a video of at least five frames."""
    count = min(GROUPS, frames // GROUP)
    room = frames / count
    return {int(index * room + (room - GROUP) / 2) + number for index in range(count) for number in range(GROUP)}


def seen(groups: Sequence[Group], info: VideoInfo, total: int, timing: Timing) -> Sampled:
    """What was seen in groups of a video that shows `total` frames; `timing` lacks the times of the groups' frames."""
    groups = sorted(groups, key=lambda group: group.times)
    frames, with_faces = (sum(counts) for counts in zip(*((len(g.times), g.with_faces) for g in groups), strict=True))
    faces = joined(groups)
    boxes = sum(group.boxes for group in groups)
    votes = [group.voted for group in groups if group.faces]
    most = max(sorted(set(votes)), key=votes.count, default=0)
    return Sampled(
        info=info,
        total=total,
        interval=0,
        frames=frames,
        face_frames=with_faces,
        damaged=0,
        concealed=0,
        voted_faces=most,
        voted_frames=GROUP * votes.count(most) if votes else frames - with_faces,
        faces=faces,
        detections=boxes,
        other_detections=boxes - sum(len(face.track) for face in faces),
        timing=timing._replace(times=[time for group in groups for time in group.times]),
        conditions=None,
        poster=next((group.poster for group in groups if group.poster), None),
    )
