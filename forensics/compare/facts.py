"""The facts of a comparison, as comparison.json holds them.

Times are in seconds, differences in levels from 0 to 255, scores are probabilities of FAKE in [0, 1].
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from common.status import Status
from forensics.compare.overlay import Box
from forensics.compare.steps import Comparison
from inference.evidence.facts import Provenance
from inference.results import FaceResult, Result

SCHEMA = 1  # of comparison.json
LEAST_ROTATION = 0.05  # degrees: less is not worth telling

Value = TypeVar("Value")
Span = tuple[float, float]  # first and last time


class Pair(NamedTuple, Generic[Value]):
    """The same fact about both clips."""

    suspect: Value
    original: Value


class Scale(NamedTuple):
    """Factors from the original's width and height to the suspect's."""

    width: float
    height: float


class Points(NamedTuple):
    """How many matched points agree on the map, of how many."""

    agree: int
    matches: int


@dataclass(frozen=True)
class ClipFacts:
    """A clip: its file and its score."""

    path: str
    sha256: str | None
    filename: str
    status: Status
    reason: str
    label: float
    verdict: str
    members: dict[str, float | None]
    false_positive_rate: float | None


@dataclass(frozen=True)
class TimeFacts:
    """When both clips show the same."""

    offset: float  # time in the original when the suspect starts
    speed: float  # how many times as fast the suspect plays
    frames: int  # of the suspect that look like frames of the original
    of: Pair[int]  # frames of the clips
    suspect: Span  # the common stretch
    original: Span
    together: float | None  # share of what moves that moves alike; None if hardly anything moves


@dataclass(frozen=True)
class PictureFacts:
    """Where the original lies in the suspect's picture."""

    matrix: list[list[float]]  # affine map [2, 3] from the original's pixels to the suspect's
    scale: Scale
    rotation: float  # clockwise, in degrees
    mirrored: bool
    shown: Box  # the part of the original that the suspect shows: x1, y1, x2, y2 in its pixels
    points: Points
    gain: list[float]  # brightness by channel (blue, green, red): the suspect has gain * level + shift
    shift: list[float]


@dataclass(frozen=True)
class RestFacts:
    """How the picture differs outside the faces."""

    mean: float  # of the differences of levels, 0 to 255
    clear: float  # share of the pixels that differ clearly


@dataclass(frozen=True)
class FaceFacts:
    """A face of the suspect beside the face in its place in the original. Original facts are None without one."""

    number: int
    original_number: int | None
    score: float | None  # as if it were the only face
    original_score: float | None
    members: dict[str, Pair[float | None]]
    changed: bool | None  # None if nothing tells what compression explains
    moments: int  # at which it was compared
    mean: float  # difference
    explained: float | None  # mean difference that compression explains
    times_explained: float | None  # how many times as large the difference is where it is largest
    clear: float  # share of pixels that differ clearly
    where: str | None  # in the face the difference is largest
    when: float | None  # the difference is largest
    over_time: list[tuple[float, float]]  # time and mean difference of each moment


@dataclass(frozen=True)
class MomentFacts:
    """The moments that were compared, and how the rest of the picture differs at each; None where nothing is left."""

    times: list[float]
    rest: list[float | None]


@dataclass(frozen=True)
class ComparisonFacts:
    """The content of comparison.json. `rest` is None if nothing of the picture is left outside the faces."""

    suspect: ClipFacts
    original: ClipFacts
    time: TimeFacts
    picture: PictureFacts
    rest: RestFacts | None
    faces: list[FaceFacts]
    moments: MomentFacts
    provenance: Provenance

    def to_json(self) -> dict[str, Any]:
        """The content of comparison.json."""
        return {"schema": SCHEMA, **asdict(self)}


@dataclass(frozen=True)
class NoMatchFacts:
    """The content of comparison.json for clips without a common stretch; `reason` says what was missing."""

    suspect: ClipFacts
    original: ClipFacts
    reason: str
    provenance: Provenance

    def to_json(self) -> dict[str, Any]:
        """The content of comparison.json: what a comparison would hold is null."""
        return {"schema": SCHEMA, "time": None, "picture": None, "rest": None, "faces": [], **asdict(self)}


def facts_of(comparison: Comparison, provenance: Provenance) -> ComparisonFacts:
    """The facts of a comparison; `provenance` says what made the scores."""
    suspect, original = comparison.results
    differences = comparison.differences
    rest = differences.rest
    return ComparisonFacts(
        suspect=clip_facts(suspect),
        original=clip_facts(original),
        time=time_facts(comparison),
        picture=picture_facts(comparison),
        rest=RestFacts(round(rest.mean, 4), round(rest.clear_share, 5)) if rest.pixels else None,
        faces=[face_facts(comparison, index) for index in range(len(differences.faces))],
        moments=MomentFacts(
            times=differences.times,
            rest=[None if math.isnan(value) else round(value, 4) for value in differences.rest_over_time],
        ),
        provenance=provenance,
    )


def clip_facts(result: Result) -> ClipFacts:
    """The facts of a clip's file and score."""
    return ClipFacts(
        path=str(result.path),
        filename=result.filename,
        status=result.status,
        reason=result.reason,
        sha256=result.evidence.input.sha256 if result.evidence else None,
        label=result.label,
        verdict=result.verdict,
        members=result.members,
        false_positive_rate=result.false_positive_rate,
    )


def time_facts(comparison: Comparison) -> TimeFacts:
    """When both clips show the same."""
    alignment = comparison.alignment
    offset, (ours, theirs) = alignment.offset, alignment.stretch
    return TimeFacts(
        offset=round(offset.seconds, 4),
        speed=round(offset.speed, 4),
        frames=len(offset.pairs),
        of=Pair(len(alignment.suspect.times), len(alignment.original.times)),
        suspect=(round(ours[0], 3), round(ours[1], 3)),
        original=(round(theirs[0], 3), round(theirs[1], 3)),
        together=None if offset.together is None else round(offset.together, 4),
    )


def picture_facts(comparison: Comparison) -> PictureFacts:
    """Where the original lies in the suspect's picture."""
    placement, levels = comparison.alignment.placement, comparison.alignment.levels
    width, height = placement.scale
    return PictureFacts(
        matrix=placement.matrix.round(5).tolist(),
        scale=Scale(round(width, 4), round(height, 4)),
        rotation=round(placement.rotation, 3) if abs(placement.rotation) > LEAST_ROTATION else 0.0,
        mirrored=placement.mirrored,
        shown=comparison.alignment.shown,
        points=Points(placement.agree, placement.matches),
        gain=levels.gain.round(4).tolist(),
        shift=levels.shift.round(3).tolist(),
    )


def face_facts(comparison: Comparison, index: int) -> FaceFacts:
    """The facts of the suspect's face with this index."""
    face, match = comparison.differences.faces[index], comparison.same_face[index]
    suspect, original = comparison.results
    ours: FaceResult = suspect.faces[index]
    theirs = None if match is None else original.faces[match]
    changed = face.is_changed
    return FaceFacts(
        number=ours.number,
        original_number=theirs.number if theirs else None,
        score=ours.score,
        original_score=theirs.score if theirs else None,
        members={
            name: Pair(score, theirs.members.get(name) if theirs else None) for name, score in ours.members.items()
        },
        changed=changed,
        moments=len(face.moments),
        mean=round(face.whole.mean, 4),
        explained=None if changed is None else round(face.explained.mean, 4),
        times_explained=None if changed is None else round(face.peak, 3),
        clear=round(face.whole.clear_share, 5),
        where=None if changed is None else face.place,
        when=face.largest.time if face.moments else None,
        over_time=[(moment.time, round(moment.mean, 4)) for moment in face.moments],
    )
