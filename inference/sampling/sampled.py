"""What a worker process returns: the faces of a video with their crops, and what was seen (inference.sampling.look).

These classes hold arrays and stay inside the program. Files are written from `inference.results.Result`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from faces.crops import Square
from faces.file_facts import Fact
from faces.tracking import Track, fill_track
from faces.video import VideoInfo
from inference.members import Branch, CropKind, frames_seen
from inference.scoring import GROUP

if TYPE_CHECKING:
    from faces.history import History


@dataclass
class Face:
    """A tracked face: its detections, a square per sampled frame, and its crops by kind, RGB uint8 [N, side, side, 3].

    The image members' logits are averaged over `group` crops: five, or one in a still image. `decides` says whether the
    video's label depends on the face. With --screen there is a square per crop; `frames` are the sampled frames for
    which the crops stand, `sources` those from which they are.
    """

    track: Track
    squares: list[Square]
    crops: dict[CropKind, np.ndarray]
    group: int = GROUP
    decides: bool = True
    frames: Sequence[int] | None = None
    sources: Sequence[int] = ()


@dataclass(frozen=True)
class Conditions:
    """How a video shows the faces that decide. A false-positive rate depends on it, besides the networks."""

    face_pixels: float  # median side, in pixels of the video, of the part of the squares that the networks see
    sharpness: float  # mean absolute Laplacian of the crops in grey, in [0, 1] (inference.sampling.look)
    light: float  # mean grey level of the crops, in [0, 1]
    bits_per_pixel: float | None = None  # that the file spends per pixel of a frame; None if the file is unknown


class Timing(NamedTuple):
    """When the sampled frames are shown, and when the video begins and ends, in seconds on a player's clock.

    The times come from the timestamps or, where these are missing, from the frame rate.
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


class Perturbed(NamedTuple):
    """A perturbed version of a video: its faces with their crops for the image members, and its conditions."""

    faces: list[Face]
    conditions: Conditions | None


@dataclass
class Sampled:
    """What was seen in a video, or in one of its shots."""

    info: VideoInfo
    total: int  # frames that the video shows
    interval: int  # one frame in `interval` was sampled; 0 with --screen, which takes groups of five
    frames: int  # sampled
    face_frames: int  # sampled frames that show a face
    damaged: int  # packets that could not be decoded
    concealed: int  # frames in which the decoder noticed damage and filled it in
    voted_faces: int  # the number of faces that most sampled frames show
    voted_frames: int  # sampled frames that show that number of faces
    faces: list[Face]
    detections: int  # face boxes
    other_detections: int  # face boxes that belong to none of `faces`
    timing: Timing
    conditions: Conditions | None  # of the faces that decide; None if no face does
    seconds: dict[str, float] = field(default_factory=dict)  # of one core, by stage
    shot: Shot | None = None
    chosen_by: dict[str, str] = field(
        default_factory=dict
    )  # why these faces were scored, if a mask chose them (quality.masks)
    losses: Sequence[str] = ()  # what is missing in the file, in words
    perturbed: dict[str, Perturbed] = field(default_factory=dict)  # with --stability, by name
    file: list[Fact] = field(default_factory=list)  # with evidence: what the file says about how it was made
    history: "History | None" = None  # with evidence: what the stream shows about how it was made
    sha256: str | None = None  # with evidence: that of the file
    poster: bytes | None = None  # with evidence: a JPEG of the frame that first shows the first face

    def frames_seen(self, branch: Branch) -> list[int]:
        """The sampled frames that a branch sees."""
        screened = [face.frames for face in self.faces if face.frames is not None]
        if screened:
            return sorted({frame for frames in screened for frame in frames}) if branch == "image" else []
        return frames_seen(branch, self.frames, self.info.still)

    def crop_frames(self, branch: Branch, face: int) -> list[int]:
        """For each of a face's crops, the sampled frame for which it stands."""
        frames = self.faces[face].frames
        return self.frames_seen(branch) if frames is None else list(frames)

    def crop_sources(self, branch: Branch, face: int) -> list[int]:
        """For each of a face's crops, the frame that it comes from: another frame where the face is absent."""
        if self.faces[face].frames is not None:
            return list(self.faces[face].sources)
        filled = fill_track(self.faces[face].track, self.frames)
        return [filled[frame].frame for frame in self.frames_seen(branch)]
