"""Evidence as pages for people: each is one file that loads nothing from elsewhere and can be printed.

Charts are SVG: the functions here compute the positions, the templates draw. Pictures are JPEG inside the page.
"""

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median_low
from typing import NamedTuple
from urllib.parse import quote

import cv2
import jinja2
import numpy as np

from common.errors import BadInputError
from common.files import write_text
from common.images import encode_image
from common.spread import spread
from common.status import Status
from inference.evidence.facts import Analysis, Evidence, GroupFacts, WhereFacts
from inference.evidence.maps import CropMap, Tested, has_place, suspicious
from inference.members import Branch, CropKind, Member
from inference.sampling.sampled import Face, Sampled
from inference.scoring import GROUP
from inference.verdicts import verdict

MADE_BY = ("locks", "settings", "versions", "machine", "runtime", "device", "precision")
LONGEST = 200  # bytes of a file name
STRIP, THUMBNAIL = 12, 112  # pictures per face, their side in pixels
COLOURS = ("#0b6e99", "#b5541c", "#5d7d1f", "#7a4fa3", "#a6336b", "#6b6b6b")  # of the faces, in turn
MAP_ODDS = 8.0  # log odds at the ends of the maps' colour scale
MAP_COLOURS = ((178, 114, 0), (0, 94, 213))  # BGR, towards REAL and towards FAKE: told apart by the colour-blind too
MAP_ALPHA = 160  # of 255, at the ends
CHART = {"width": 720, "height": 200, "left": 34, "bottom": 22}
TEMPLATES = Path(__file__).parent / "templates"
PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


def pages_with(folder: Path) -> jinja2.Environment:
    """The environment of pages whose templates lie in another folder and may include those of the evidence."""
    return PAGES.overlay(loader=jinja2.FileSystemLoader([folder, TEMPLATES]))


class Point(NamedTuple):
    """A group's score in the chart, in the chart's pixels; hollow if most of its pictures are of another time."""

    x: float
    y: float
    hollow: bool


class FaceLine(NamedTuple):
    """A face in the chart, in the chart's pixels: the points of its score over time, and where it was detected."""

    colour: str
    points: list[Point]
    detected: list[float]


class StripCrop(NamedTuple):
    """A crop on the page: a data URL, its time in seconds, its score or None.

    If its map was tested: what came of it and, if the map holds, the map to lay over the crop, as a data URL.
    """

    picture: str
    time: float
    score: float | None
    map: str | None = None
    tested: WhereFacts | None = None


@dataclass(frozen=True)
class IndexRow:
    """What the index shows of a video."""

    filename: str
    label: float
    status: Status
    thumbnail: str | None
    verdict: str
    faces: int
    seconds: float | None
    link: str


def picture(image: np.ndarray) -> str:
    """An RGB image [H, W, 3], scaled to THUMBNAIL pixels, as a data URL."""
    small = cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return data_url(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))


def data_url(image: np.ndarray | bytes, suffix: str = ".jpg") -> str:
    """A BGR image, or the content of an image's file, as a data URL; with an alpha channel as `.png`."""
    content = image if isinstance(image, bytes) else encode_image(image, suffix)
    kind = {".jpg": "jpeg", ".png": "png"}[suffix]
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def group_means(analysis: Analysis, face: int) -> list[tuple[GroupFacts, float]]:
    """Each group of a face, as one of the image members saw it, and these members' weighted mean score."""
    members = [member for member in analysis.members.values() if member.branch == "image" and member.faces]
    weights = [member.weight for member in members]
    groups = zip(*(member.faces[face].groups for member in members), strict=True)
    return [(group[0], fmean((part.score for part in group), weights)) for group in groups]


def timeline(analysis: Analysis) -> list[FaceLine]:
    """The line of each face in the chart."""
    end = max(analysis.video.duration or 0, analysis.sampling.times[-1], 0.001)

    def across(time: float) -> float:
        return round(CHART["left"] + time / end * (CHART["width"] - CHART["left"] - 10), 1)

    def up(score: float) -> float:
        return round((CHART["height"] - CHART["bottom"]) * (1 - score) + 6, 1)

    return [
        FaceLine(
            colour=COLOURS[face % len(COLOURS)],
            points=[
                Point(across(median_low(group.times)), up(score), 2 * group.copies > GROUP)
                for group, score in group_means(analysis, face)
            ],
            detected=[across(found.time) for found in track.detections],
        )
        for face, track in enumerate(analysis.tracks)
    ]


def strips(
    analysis: Analysis, sampled: Sampled, kinds: Mapping[Branch, CropKind], maps: Sequence[Sequence[CropMap]]
) -> list[list[StripCrop]]:
    """Up to STRIP crops of each face: the most suspicious first or, without image members, spread over time."""
    return [
        [with_map(crop, at, mine, has_place(mine)) for at, crop in strip(analysis, number, face, sampled, kinds)]
        for number, (face, mine) in enumerate(zip(sampled.faces, maps, strict=True))
    ]


def with_map(crop: StripCrop, at: int, maps: Sequence[CropMap], shown: bool) -> StripCrop:
    """The crop of number `at` with what came of its map, if that was tested, and the map, if it is to be shown."""
    for one in maps:
        if one.crop == at:
            return crop._replace(tested=one.facts, map=overlay(one.tested) if shown and one.tested.proven else None)
    return crop


def overlay(one: Tested) -> str:
    """A map as a PNG to lay over its crop: towards FAKE orange, towards REAL blue, clear at 0, the mark outlined."""
    strength = np.clip(np.abs(one.map) / MAP_ODDS, 0, 1)
    colours = np.where(one.map[..., None] > 0, MAP_COLOURS[1], MAP_COLOURS[0]).astype(np.uint8)
    image = np.dstack([colours, (MAP_ALPHA * strength).astype(np.uint8)])
    large = cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_LINEAR)
    mark = cv2.resize(one.mark.astype(np.uint8), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_NEAREST)
    large[cv2.morphologyEx(mark, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0] = (255, 255, 255, 255)
    return data_url(large, ".png")


def strip(
    analysis: Analysis, number: int, face: Face, sampled: Sampled, kinds: Mapping[Branch, CropKind]
) -> list[tuple[int, StripCrop]]:
    """The crops of one face, as `strips` shows them, and their numbers."""
    branch: Branch = "image" if "image" in kinds else "video"
    crops, frames, size = face.crops[kinds[branch]], sampled.frames_of(branch), sampled.group
    sources = sampled.sources(number)
    chosen: list[tuple[float | None, int]]
    if branch == "image":
        means = [score for _, score in group_means(analysis, number)]
        chosen = [(means[at // size], at) for at in suspicious(means, size)[:STRIP]]
    else:
        chosen = [(None, int(at)) for at in spread(len(crops), STRIP)]
    return [
        (at, StripCrop(picture(crops[at]), sampled.timing.times[sources[frames[at]]], score))
        for score, at in chosen
        if at < len(crops)
    ]


def page(
    evidence: Evidence, sampled: Sampled | None, members: Mapping[str, Member], maps: Sequence[Sequence[CropMap]]
) -> str:
    """A video's evidence as HTML."""
    analysis = evidence.analysis if evidence.status == Status.OK else None
    kinds = {member.branch: member.crop_kind for member in members.values()}
    return PAGES.get_template("video.html").render(
        evidence=evidence,
        analysis=evidence.analysis,
        scored=evidence.status == Status.OK,
        verdict=verdict(evidence.status, evidence.label, evidence.reason, evidence.judgement),
        chart=CHART,
        timeline=timeline(analysis) if analysis else [],
        strips=strips(analysis, sampled, kinds, maps) if analysis and sampled else [],
        poster=data_url(sampled.poster) if sampled and sampled.poster else None,
        colours=COLOURS,
        map_odds=MAP_ODDS,
        map_scale=map_scale(),
    )


def map_scale() -> str:
    """The colour scale of the maps, as a gradient of CSS."""
    stops = []
    for (blue, green, red), alphas in zip(MAP_COLOURS, ((MAP_ALPHA, 0), (0, MAP_ALPHA)), strict=True):
        stops += [f"rgba({red}, {green}, {blue}, {alpha / 255:.2f})" for alpha in alphas]
    return f"linear-gradient(90deg, {stops[0]}, {stops[1]} 50%, {stops[2]} 50%, {stops[3]})"


class Document(NamedTuple):
    """A video's evidence as the content of its files."""

    page: str
    json: str

    def write(self, folder: Path, filename: str) -> None:
        """Write the page, what inference.verify needs, then the JSON."""
        write_text(evidence_file(folder, filename, ".html"), self.page)
        write_text(evidence_file(folder, filename, ".verify.json"), self.to_verify)
        write_text(evidence_file(folder, filename, ".json"), self.json)

    @property
    def to_verify(self) -> str:
        """What inference.verify needs and what a signature is to be of: digests of all files, settings, machine."""
        facts = json.loads(self.json)
        made = facts["provenance"]
        weights = {name: member["sha256"] for name, member in made["members"].items()}
        content = {
            "filename": facts["filename"],
            "video": facts["input"]["sha256"],
            "files": {
                suffix: hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
                for suffix, text in ((".json", self.json), (".html", self.page))
            },
            "weights": {**weights, "detector": made["detector"]["sha256"], "calibration": made["calibration"]},
            **{name: made[name] for name in MADE_BY},
            **{name: facts[name] for name in ("status", "label", "verdict")},
        }
        return json.dumps(content, indent=1) + "\n"


def document(
    evidence: Evidence,
    sampled: Sampled | None,
    members: Mapping[str, Member],
    maps: Sequence[Sequence[CropMap]] = (),
) -> Document:
    """A video's evidence as page and JSON; `maps` are those of each face."""
    crop = middle_crop(sampled) if sampled and sampled.faces else None
    thumbnail = None if crop is None else picture(crop)
    text = json.dumps(evidence.to_json() | {"thumbnail": thumbnail}, indent=1, allow_nan=False)
    return Document(page(evidence, sampled, members, maps), text + "\n")


def evidence_file(folder: Path, filename: str, suffix: str) -> Path:
    """The path of a video's JSON or page; in a name that is too long, or is `index`, a digest replaces the end."""
    name = os.fsencode(Path(filename).name)
    if len(name) > LONGEST or filename == "index":
        digest = hashlib.sha256(name).hexdigest()[:12]
        name = f"{name[: LONGEST - 40].decode(errors='ignore')}~{digest}".encode()
    return folder / Path(filename).parent / f"{os.fsdecode(name)}{suffix}"


def middle_crop(sampled: Sampled) -> np.ndarray | None:
    """The first face in the middle of the video; None if too few frames were sampled for any member."""
    kinds = sampled.faces[0].crops
    crops = kinds[max(kinds, key=lambda kind: (len(kinds[kind]), kind))]
    return crops[len(crops) // 2] if len(crops) else None


def write_index(folder: Path, names: list[str]) -> None:
    """Write `index.html` over the evidence of these videos."""
    rows = [index_row(folder, name) for name in names]
    write_text(folder / "index.html", PAGES.get_template("index.html").render(rows=rows))


def index_row(folder: Path, name: str) -> IndexRow:
    """What the index shows of a video. Raises BadInputError if its evidence is missing."""
    path = evidence_file(folder, name, ".json")
    if not path.is_file():
        raise BadInputError(f"{path} is missing: score the video again")
    facts = json.loads(path.read_bytes())
    status = Status(facts["status"])
    return IndexRow(
        filename=facts["filename"],
        label=facts["label"],
        status=status,
        thumbnail=facts["thumbnail"],
        verdict=facts["verdict"],
        faces=len(facts.get("tracks", ())),
        seconds=facts.get("video", {}).get("duration"),
        link=quote(os.fsencode(evidence_file(folder, name, ".html").relative_to(folder))),
    )
