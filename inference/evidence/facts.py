"""The facts of a video's evidence, as `<filename>.json` holds them.

Times are in seconds of a player's clock, which begins with the first of the file's streams, be it sound. Sizes are in
pixels, scores probabilities of FAKE in [0, 1].
"""

from dataclasses import dataclass

from inference.members import Branch


@dataclass(frozen=True)
class Input:
    """The file that was scored; its size and sha256 are None if it cannot be read."""

    path: str
    bytes: int | None
    sha256: str | None


@dataclass(frozen=True)
class VideoFacts:
    """The facts that the file itself gives."""

    duration: float  # until the picture ends
    starts: float  # when the picture begins
    fps: float
    frames: int  # that the video shows
    declared_frames: int | None  # by its container
    width: int
    height: int
    rotation: int  # by how many degrees, counterclockwise, its frames were turned
    mirrored: bool  # whether left and right then changed places
    stream: int  # of the file, from 0
    streams: int  # how many of the file's streams show pictures
    transfer: str | None  # "PQ" or "HLG" for HDR
    still: bool  # a picture, not a video
    pixel_aspect: str  # a pixel's width and height, as 1:1
    damaged_packets: int
    concealed_frames: int  # whose damage the decoder noticed and filled in


@dataclass(frozen=True)
class Sampling:
    """Which frames were sampled: one in `every`, at `times`; these come from "timestamps" or from the frame "rate"."""

    every: int
    times_from: str
    frames: int
    times: list[float]


@dataclass(frozen=True)
class FaceCount:
    """The faces in the sampled frames.

    How many faces most frames show, and how many frames show so many; how many frames show any; how many detections
    there are, and how many of them belong to no scored face.
    """

    voted: int
    voted_in_frames: int
    in_frames: int
    detections: int
    other_detections: int


@dataclass(frozen=True)
class Seen:
    """A detection of a face: sampled frame, time, box (x1, y1, x2, y2), the detector's score."""

    frame: int
    time: float
    box: tuple[int, int, int, int]
    score: float


@dataclass(frozen=True)
class WhereFacts:
    """A crop whose class activation map was tested (inference.evidence.maps).

    Its time; its log odds of FAKE; by how much they fall when the marked fifth is covered, and when as much is covered
    at other places; whether the first is more than all of these.
    """

    time: float
    log_odds: float
    fall: float
    elsewhere: list[float]
    proven: bool


@dataclass(frozen=True)
class TrackFacts:
    """A face's track through the video; its score is the ensemble's, as if it were the only face.

    `where` holds its most suspicious crops, `place` says in words whether the score has a place in them.
    """

    score: float | None
    rule: str
    decides: bool  # whether the video's label depends on it
    crop_side: int
    where: list[WhereFacts]
    place: str
    detections: list[Seen]


@dataclass(frozen=True)
class BranchFacts:
    """A branch's score and the rule that made it."""

    score: float | None
    rule: str


@dataclass(frozen=True)
class GroupFacts:
    """An image member's score of a group of five frames of a face, or of a picture's one.

    `times` are those at which the face was seen; `copies` counts the frames that show it at another time than theirs,
    because it was not detected in them.
    """

    score: float
    times: list[float]
    copies: int


@dataclass(frozen=True)
class FaceScore:
    """A member's score of a face, the rule that made it, and for an image member the groups."""

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
    final_weight: float  # in the final score, if no policy leaves a member out
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
    onnx_sha256: str | None  # of the ONNX file that was run, if one was
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
    locks: dict[str, str]  # sha256 of the files that say which packages belong to this version
    settings: dict[str, int | bool]  # those that the numbers depend on, by the names of `Settings.recorded`


@dataclass(frozen=True)
class Analysis:
    """What is known of a video that could be read."""

    video: VideoFacts
    file: dict[str, str]  # what the container says about how it was made
    sampling: Sampling
    faces: FaceCount
    tracks: list[TrackFacts]
    rule: str
    branches: dict[Branch, BranchFacts]
    members: dict[str, MemberFacts]
    not_analysed: list[str]


@dataclass(frozen=True)
class StripCrop:
    """A crop on the page: a data URL, its time in seconds, its score or None.

    If its map was tested: what came of it and, if the map holds, the map to lay over the crop, as a data URL.
    """

    picture: str
    time: float
    score: float | None
    map: str | None = None
    tested: WhereFacts | None = None


@dataclass(frozen=True)
class Pictures:
    """What a page shows, as data URLs: the middle crop of the first face, the poster, and crops of each face."""

    thumbnail: str | None = None
    poster: str | None = None
    strips: tuple[tuple[StripCrop, ...], ...] = ()


@dataclass(frozen=True)
class Evidence:
    """What a result rests on; `analysis` is None for a video that could not be read."""

    input: Input
    provenance: Provenance
    analysis: Analysis | None = None
    pictures: Pictures = Pictures()
