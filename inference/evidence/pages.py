"""Evidence as files: the JSON, a page for people, and the digests that `inference.verify` needs.

A page is one file that loads nothing from elsewhere and can be printed. Its charts are SVG: the functions here compute
positions, and the templates draw.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median_low
from typing import Any, NamedTuple
from urllib.parse import quote

import jinja2

from common.errors import BadInputError
from common.files import write_text
from common.folders import files_below
from common.status import Status
from inference.evidence.case import Case
from inference.evidence.facts import Analysis, Evidence, GroupFacts
from inference.evidence.glossary import GLOSSARY
from inference.evidence.history import describe_stream
from inference.evidence.pictures import MAP_ODDS, map_scale
from inference.results import Result
from inference.sampling.sampled import Conditions
from inference.scoring import GROUP
from inference.verdicts import MEASURES, verdict

SCHEMA = 1  # of the JSON and of verify.json
DIGESTED = (".json", ".html")  # files whose digests verify.json holds
DIGESTS = ".verify.json"
ROW_FACTS = (  # keys that the JSON takes over from the row
    *("filename", "status", "reason", "label", "verdict", "false_positive_rate", "judgement", "conditions"),
    *("forms", "stability"),
)
MADE_BY = ("locks", "settings", "versions", "machine", "runtime", "device", "precision")
LONGEST = 200  # bytes of a file name
COLOURS = ("#0b6e99", "#b5541c", "#5d7d1f", "#7a4fa3", "#a6336b", "#6b6b6b")  # of the faces, in turn
TEMPLATES = Path(__file__).parent / "templates"
PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


def plain(rule: str, faces: int = 0) -> str:
    """A rule of `inference.scoring` for people: with one group, member or face there is nothing to average."""
    rule = re.sub(r"all 2 (\w+ members|groups|members)", r"both \1", rule)
    rule = re.sub(r"mean of all 1 groups|1 of 1 groups [<>] \.\d+: mean of those", "the only group", rule)
    rule = re.sub(
        r"(?:weighted mean of all 1|1 of 1) (\w+) members(?: [<>] \.\d: weighted mean of those)?",
        r"the only \1 member",
        rule,
    )
    if faces == 1:
        rule = re.sub(r"^(?:a face|all faces) [<>] \.\d: the \w+", "the only face", rule)
    return re.sub(r"(?<!\d)\.(?=\d)", "0.", rule)


PAGES.filters["plain"] = plain
PAGES.globals |= {"glossary": GLOSSARY, "case_fields": [field.name for field in fields(Case)]}
PAGES.filters["describe_stream"] = describe_stream


def pages_with(folder: Path) -> jinja2.Environment:
    """The environment of pages whose templates lie in another folder and may use those of the evidence."""
    return PAGES.overlay(loader=jinja2.FileSystemLoader([folder, TEMPLATES]))


def required_evidence(result: Result) -> Evidence:
    """The result's evidence. Raises BadInputError if it was scored without evidence."""
    if result.evidence is None:
        raise BadInputError(f"{result.filename} was scored without evidence")
    return result.evidence


def evidence_json(result: Result) -> dict[str, Any]:
    """The content of `<filename>.json`. Raises BadInputError for a result without evidence."""
    evidence, row = required_evidence(result), result.to_row()
    content = {"schema": SCHEMA, **{name: row[name] for name in ROW_FACTS}}
    content |= {"input": asdict(evidence.input), "provenance": asdict(evidence.provenance)}
    if evidence.analysis:
        content |= asdict(evidence.analysis) | {"notes": row["notes"], "shots": row["shots"]}
    case = asdict(evidence.case) if evidence.case else None
    return content | {"conclusion": evidence.conclusion, "case": case, "thumbnail": evidence.pictures.thumbnail}


def page(result: Result) -> str:
    """The page, as HTML. Raises BadInputError for a result without evidence."""
    evidence = required_evidence(result)
    scored = result.status == Status.OK
    return PAGES.get_template("video.html").render(
        result=result,
        evidence=evidence,
        analysis=evidence.analysis,
        scored=scored,
        verdict=verdict(result.status, result.label, result.reason, result.judgement),
        chart=CHART,
        timeline=timeline(result, evidence.analysis) if scored and evidence.analysis else [],
        colours=COLOURS,
        conditions=describe_conditions(result.conditions),
        map_odds=MAP_ODDS,
        map_scale=map_scale(),
    )


def describe_conditions(conditions: Conditions | None) -> str:
    """The conditions of a video in words, as the part of the faces that the networks see; empty if they are unknown."""
    known = asdict(conditions) if conditions else {}
    return ", ".join(MEASURES[name].describe(value) for name, value in known.items() if value is not None)


def verify_json(content: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, Any]:
    """The content of `<filename>.verify.json`, from that of the JSON and the sha256 of the files by suffix."""
    made = content["provenance"]
    weights = {name: member["sha256"] for name, member in made["members"].items()}
    return {
        "schema": SCHEMA,
        "filename": content["filename"],
        "video": content["input"]["sha256"],
        "files": dict(digests),
        "weights": {**weights, "detector": made["detector"]["sha256"], "calibration": made["calibration"]},
        **{name: made[name] for name in MADE_BY},
        **{name: content[name] for name in ("status", "label", "verdict")},
    }


def texts_of(result: Result) -> dict[str, str]:
    """The texts of the evidence's files, by suffix: page, digests, JSON. Raises BadInputError if there is none."""
    content = evidence_json(result)
    texts = {".html": page(result), ".json": json.dumps(content, indent=1, allow_nan=False) + "\n"}
    digests = {suffix: digest_of(texts[suffix]) for suffix in DIGESTED}
    return texts | {DIGESTS: json.dumps(verify_json(content, digests), indent=1) + "\n"}


def save(result: Result, folder: Path) -> None:
    """Write the page, the digests, then the JSON. Raises BadInputError for a result without evidence."""
    texts = texts_of(result)
    paths = {suffix: own_file(folder, result.filename, suffix, result.sha256) for suffix in texts}
    for suffix in (".html", DIGESTS, ".json"):
        write_text(paths[suffix], texts[suffix])


def digest_of(text: str) -> str:
    """The sha256 of a text as it is written to a file."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def evidence_file(folder: Path, filename: str, suffix: str) -> Path:
    """The path of a file of a video's evidence. A digest replaces the end of a name that is too long, or is `index`."""
    name = os.fsencode(Path(filename).name)
    if len(name) > LONGEST or filename == "index":
        digest = hashlib.sha256(name).hexdigest()[:12]
        name = f"{name[: LONGEST - 40].decode(errors='ignore')}~{digest}".encode()
    return folder / Path(filename).parent / f"{os.fsdecode(name)}{suffix}"


def own_file(folder: Path, filename: str, suffix: str, video: str | None) -> Path:
    """The path of a file of the evidence of the video with this sha256; None for a file that is missing.

    It is `evidence_file`, unless the evidence of another video of this name lies there: then the first digits of the
    sha256 follow the name, so that no evidence replaces another's. They do too if the name ends like that of digests.
    """
    digests = evidence_file(folder, filename, DIGESTS)
    other = read_object(digests).get("video") if digests.is_file() else None
    is_free = other in (None, video) and not filename.endswith(Path(DIGESTS).stem)
    mark = "" if is_free else f"~{video[:8] if video else 'missing'}"
    return digests.with_name(f"{digests.name.removesuffix(DIGESTS)}{mark}{suffix}")


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises BadInputError if the file holds none."""
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadInputError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise BadInputError(f"{path} is not evidence")
    return content


class Point(NamedTuple):
    """A point of a chart, in the chart's pixels; hollow if most of what it stands for is from another time."""

    x: float
    y: float
    hollow: bool = False


class FaceLine(NamedTuple):
    """A face in the chart: its colour, the points of its score over time, and the x of each of its detections."""

    colour: str
    points: list[Point]
    detected: list[float]


@dataclass(frozen=True)
class Chart:
    """A chart over time, in pixels: its size, and the margins for the labels."""

    height: int
    left: int
    width: int = 720
    top: int = 6
    right: int = 10
    bottom: int = 22

    def x(self, share: float) -> float:
        """Where a time is; `share` is 0 at the start of the chart and 1 at its end."""
        return round(self.left + share * (self.width - self.left - self.right), 1)

    def y(self, share: float) -> float:
        """Where a value is; `share` is 0 at the bottom of the chart and 1 at its top."""
        return round((self.height - self.bottom) * (1 - share) + self.top, 1)


CHART = Chart(height=200, left=34)


def timeline(result: Result, analysis: Analysis) -> list[FaceLine]:
    """The line of each face in the chart of the scores."""
    end = max(analysis.video.duration or 0, analysis.sampling.times[-1], 0.001)
    return [
        FaceLine(
            colour=COLOURS[index % len(COLOURS)],
            points=[
                Point(CHART.x(median_low(group.times) / end), CHART.y(score), 2 * group.copies > GROUP)
                for group, score in zip(groups_of(analysis, index), face.groups, strict=True)
            ],
            detected=[CHART.x(detection.time / end) for detection in track.detections],
        )
        for index, (face, track) in enumerate(zip(result.faces, analysis.tracks, strict=True))
    ]


def groups_of(analysis: Analysis, face: int) -> list[GroupFacts]:
    """The groups of the face with this index, as an image member saw them; all image members see the same frames."""
    members = (member for member in analysis.members.values() if member.branch == "image" and member.faces)
    return next((member.faces[face].groups for member in members), [])


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


def write_index(folder: Path, results: Iterable[Result]) -> None:
    """Write `index.html` over the evidence of these videos, then that of others in the folder, from earlier runs.

    Raises BadInputError if the evidence of one of these videos is missing.
    """
    pages = [own_file(folder, result.filename, ".json", result.sha256) for result in results]
    if missing := [path for path in pages if not path.is_file()]:
        raise BadInputError(f"{missing[0]} is missing: score the video again")
    rows = [index_row(folder, path) for path in pages]
    digests = (path for path in files_below(folder) if path.name.endswith(DIGESTS))
    others = {path.with_name(f"{path.name.removesuffix(DIGESTS)}.json") for path in digests} - set(pages)
    for path in sorted(filter(Path.is_file, others)):
        with suppress(BadInputError):  # what another program or release wrote must not end this run
            rows.append(index_row(folder, path))
    write_text(folder / "index.html", PAGES.get_template("index.html").render(rows=rows))


def index_row(folder: Path, path: Path) -> IndexRow:
    """What the index shows of a video, read from its JSON, which an interrupted run or another shard may have written.

    Raises BadInputError if that is not evidence.
    """
    content = read_object(path)
    try:
        return IndexRow(
            filename=content["filename"],
            label=content["label"],
            status=Status(content["status"]),
            thumbnail=content["thumbnail"],
            verdict=content["verdict"],
            faces=len(content.get("tracks", ())),
            seconds=content.get("video", {}).get("duration"),
            link=quote(os.fsencode(path.with_suffix(".html").relative_to(folder))),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadInputError(f"{path} is not evidence: {error!r}") from error
