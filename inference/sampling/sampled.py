"""What a worker process hands over: the faces of a video with their crops, and what was seen (inference.sampling.look).

This shape stays inside the process: it holds arrays. What is written comes from `inference.results.Result`.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from faces.crops import Square
from faces.file_facts import Fact
from faces.tracking import Track, fill_track
from faces.video import VideoInfo
from inference.members import Branch, CropKind, frames_seen
from inference.scoring import GROUP


@dataclass
class Face:
    """A tracked face: detections and squares by sampled frame, and by kind its crops, RGB uint8 [N, side, side, 3].

    The image members' logits are averaged over `group` crops: five, or one of a still image. `decides` says whether the
    video's label depends on the face.
    """

    track: Track
    squares: list[Square]
    crops: dict[CropKind, np.ndarray]
    group: int = GROUP
    decides: bool = True


@dataclass(frozen=True)
class Conditions:
    """How a video shows the faces that decide: what a false-positive rate depends on, besides the networks."""

    face_pixels: float  # side, in the video, of the square that the networks see; the median
    sharpness: float  # mean size of the Laplacian of the crops' grey, in [0, 1] (inference.sampling.look)
    light: float  # mean grey of the crops, in [0, 1]
    bits_per_pixel: float | None = None  # that the file spends on a pixel of a frame; None for crops of an unknown file


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


class Perturbed(NamedTuple):
    """A perturbed version of a video: its faces with their crops for the image members, and its conditions."""

    faces: list[Face]
    conditions: Conditions | None


@dataclass
class Sampled:
    """What was seen in a video, or in one of its shots."""

    info: VideoInfo
    total: int  # frames that the video shows
    interval: int  # every interval-th frame was sampled
    frames: int  # how many frames were sampled
    face_frames: int  # how many of them show a face
    damaged: int  # packets that could not be decoded
    concealed: int  # frames of the video whose damage the decoder noticed and filled in
    voted_faces: int  # how many faces most sampled frames show
    voted_frames: int  # how many sampled frames show that many faces
    faces: list[Face]
    detections: int  # boxes of faces
    other_detections: int  # those that are not among `faces`
    timing: Timing
    conditions: Conditions | None  # of the faces that decide; None if there are none
    seconds: dict[str, float] = field(default_factory=dict)  # of a core, by stage
    shot: Shot | None = None
    chosen_by: dict[str, str] = field(default_factory=dict)  # why these faces, if something chose them (quality.masks)
    perturbed: dict[str, Perturbed] = field(default_factory=dict)  # with --stability, by name
    file: list[Fact] = field(default_factory=list)  # with evidence: what the container says about how it was made
    sha256: str | None = None  # of the file, with evidence
    poster: bytes | None = None  # with evidence: JPEG of the frame that first shows the first face

    def frames_seen(self, branch: Branch) -> list[int]:
        """Which sampled frames a branch sees."""
        return frames_seen(branch, self.frames, self.info.still)

    def sources(self, face: int) -> list[int]:
        """From which sampled frame the crop of a face for each sampled frame comes: another one where it is absent."""
        return [detection.frame for detection in fill_track(self.faces[face].track, self.frames)]
