"""What a worker process finds in a video (inference.sampling.look), as the networks, rows and evidence read it."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from faces.crops import Square
from faces.file_facts import Fact
from faces.tracking import Track, fill_track
from faces.video import VideoInfo
from inference.members import Branch, CropKind
from inference.sampling.conditions import Conditions
from inference.scoring import GROUP, image_frames

MAX_FACES = 2


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


class Formed(NamedTuple):
    """A form of a video: its faces with their crops for the image members, and its conditions."""

    faces: list[Face]
    conditions: Conditions | None


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
    conditions: Conditions | None = None  # of the faces that decide; None if there are none
    by_known: dict[str, str] = field(default_factory=dict)  # see `inference.rows.Row`
    first: bool = False  # whether the first frames were sampled, instead of some spread over the video
    file: list[Fact] = field(default_factory=list)  # with evidence: what the container says of its making
    forms: dict[str, Formed] = field(default_factory=dict)  # with --stability, by name (inference.sampling.perturbed)
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
