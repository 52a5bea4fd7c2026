"""The facts of a video's evidence, as `<filename>.json` holds them.

Times are in seconds of a player's clock, which starts with the first of the file's streams, even if that is sound.
Sizes are in pixels. Scores are probabilities of FAKE in [0, 1].
"""

from dataclasses import dataclass

from faces.history import History
from inference.evidence.case import Case
from inference.members import Branch


@dataclass(frozen=True)
class Input:
    """The file that was scored. Its size and sha256 are None if it cannot be read."""

    path: str
    bytes: int | None
    sha256: str | None


@dataclass(frozen=True)
class VideoFacts:
    """What the file itself says about its pictures."""

    duration: float  # until the picture ends
    starts: float  # when the picture starts
    fps: float
    frames: int  # that the video shows
    declared_frames: int | None  # by its container
    width: int
    height: int
    rotation: int  # degrees by which its frames were turned counterclockwise
    mirrored: bool  # whether left and right were then swapped
    stream: int  # index of the stream in the file, from 0
    streams: int  # how many of the file's streams show pictures
    transfer: str | None  # "PQ" or "HLG" for HDR
    still: bool  # a still image, not a video
    pixel_aspect: str  # width and height of a pixel, such as "1:1"
    damaged_packets: int
    concealed_frames: int  # frames whose damage the decoder noticed and filled in


@dataclass(frozen=True)
class Sampling:
    """Which frames were sampled: one in `every`, shown at `times`."""

    every: int
    times_from: str  # "timestamps" of the file, or its frame "rate"
    frames: int
    times: list[float]


@dataclass(frozen=True)
class FaceCount:
    """How many faces the sampled frames show."""

    voted: int  # faces that most frames show
    voted_in_frames: int  # frames that show that many faces
    in_frames: int  # frames that show any face
    detections: int
    other_detections: int  # detections that belong to no scored face


@dataclass(frozen=True)
class DetectionFacts:
    """A detection of a face: sampled frame, time, box (x1, y1, x2, y2), and the detector's score."""

    frame: int
    time: float
    box: tuple[int, int, int, int]
    score: float


@dataclass(frozen=True)
class MapFacts:
    """The test of a crop's class activation map (inference.evidence.maps)."""

    time: float
    log_odds: float  # of FAKE, for the crop as it is
    fall: float  # of the log odds, when the marked fifth is covered
    elsewhere: list[float]  # the same, when as much is covered at other places
    proven: bool  # whether `fall` is positive and larger than all others


@dataclass(frozen=True)
class TrackFacts:
    """A face's track through the video. Its score is the ensemble's, as if it were the only face."""

    score: float | None
    rule: str
    decides: bool  # whether the video's label depends on it
    crop_side: int
    where: list[MapFacts]  # of its most suspicious crops
    place: str  # whether the score can be located in the face, in words
    detections: list[DetectionFacts]


@dataclass(frozen=True)
class BranchFacts:
    """A branch's score and the rule that made it."""

    score: float | None
    rule: str


@dataclass(frozen=True)
class GroupFacts:
    """An image member's score of a group of a face's crops: five of a video, one of a still image.

    `times` are those at which the face was seen. `copies` counts the frames in which the face was not detected, so that
    a crop from another time stands in.
    """

    score: float
    times: list[float]
    copies: int


@dataclass(frozen=True)
class FaceScore:
    """A member's score of a face, the rule that made it, and the groups (image members only)."""

    score: float | None
    rule: str
    groups: list[GroupFacts]


@dataclass(frozen=True)
class MemberFacts:
    """A member's score, the rule that made it, and its scores of each face."""

    score: float | None
    rule: str
    branch: Branch
    arch: str
    weight: float  # within its branch
    final_weight: float  # in the final score, if no rule leaves a member out
    faces: list[FaceScore]


@dataclass(frozen=True)
class DetectorFile:
    """The detector's weights."""

    weights: str
    sha256: str


@dataclass(frozen=True)
class MemberFiles:
    """A member's checkpoint and config, and the crops that it sees."""

    checkpoint: str
    sha256: str
    onnx_sha256: str | None  # of the ONNX file, if that was run
    config: str
    config_sha256: str
    pixels: int
    crop_fraction: float


@dataclass(frozen=True)
class Provenance:
    """What made the score: versions, machine, runtime, device, precision, and every file that it depends on."""

    versions: dict[str, str]
    machine: str
    runtime: str
    device: str
    precision: str
    detector: DetectorFile
    members: dict[str, MemberFiles]
    calibration: str | None  # sha256
    locks: dict[str, str]  # sha256 of the files that pin the packages of this version
    settings: dict[str, int | bool]  # those that the numbers depend on, by the names of `Settings.recorded`


@dataclass(frozen=True)
class HistoryFinding:
    """Something that a file's stream shows about how it was made."""

    name: str
    shows: str  # what was measured
    causes: str  # what usually leaves such a trace
    score: str  # what it means for the score


@dataclass(frozen=True)
class HistoryFacts:
    """What a file's stream shows about how it was made. No part of the score."""

    measured: History
    findings: list[HistoryFinding]
    faces_like_these: str  # how often real faces in these conditions are called fake, against all; empty if not known


@dataclass(frozen=True)
class Analysis:
    """What is known about a video that could be read."""

    video: VideoFacts
    file: dict[str, str]  # what the container says about how the file was made
    history: HistoryFacts | None  # what its stream shows about that; null if it could not be examined
    sampling: Sampling
    faces: FaceCount
    tracks: list[TrackFacts]
    rule: str
    branches: dict[Branch, BranchFacts]
    members: dict[str, MemberFacts]
    not_analysed: list[str]


@dataclass(frozen=True)
class StripCrop:
    """A crop on the page."""

    picture: str  # data URL
    time: float
    score: float | None
    tested: MapFacts | None = None  # the test of its map, if there was one
    map: str | None = None  # data URL of the map to lay over the crop, if it passed


@dataclass(frozen=True)
class Pictures:
    """What a page shows, as data URLs."""

    thumbnail: str | None = None  # the first face, from the middle of the video
    poster: str | None = None  # the first frame with the first face
    strips: tuple[tuple[StripCrop, ...], ...] = ()  # crops of each face


@dataclass(frozen=True)
class Evidence:
    """What a result rests on. `analysis` is None for a video that could not be read."""

    input: Input
    provenance: Provenance
    conclusion: list[str]  # sentences for a report
    analysis: Analysis | None = None
    pictures: Pictures = Pictures()
    case: Case | None = None
