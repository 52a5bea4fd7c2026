"""Evidence as pages for people: one file each, no script or style from elsewhere, fit to print.

Charts are SVG, placed by the functions here and drawn by the templates; pictures are JPEG inside the page.
"""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import quote

import cv2
import jinja2
import numpy as np

from common.atomic import write_text
from common.errors import BadInputError
from common.images import encode_image
from inference.evidence import Facts
from inference.members import Member
from inference.sampled import Face, Kind, Sampled, frames_of
from inference.scoring import GROUP

LONGEST = 200  # bytes of a name
STRIP, THUMBNAIL = 12, 112  # pictures a face, their side in pixels
COLOURS = ("#0b6e99", "#b5541c")  # of the first and the second face
CHART = {"width": 720, "height": 200, "left": 34, "bottom": 22}
# The lowest score of each verdict, what it is called, and what it means.
VERDICTS = (
    (0.8, "likely fake", "The members that decide agree on signs of a face swap."),
    (0.6, "leans fake", "More signs of a face swap than against it, but members or faces disagree."),
    (0.4, "undecided", "The score says next to nothing: look at the faces and the members below."),
    (0.2, "leans real", "Fewer signs of a face swap than is usual in fakes, but members or faces disagree."),
    (0.0, "likely real", "The members that decide see no sign of the face swaps they were trained on."),
)
PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


def verdict(facts: Facts) -> dict[str, str]:
    """What a score is called and what it means; a video without one has none."""
    if facts["status"] != "ok":
        return {"name": "not scored", "meaning": f"{facts['reason']}. The label .5 stands for no score."}
    return next({"name": name, "meaning": meaning} for lowest, name, meaning in VERDICTS if facts["label"] >= lowest)


def picture(image: np.ndarray) -> str:
    """An RGB image [H, W, 3] as a data URL."""
    small = cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return data_url(encode_image(cv2.cvtColor(small, cv2.COLOR_RGB2BGR), ".jpg"))


def data_url(jpeg: bytes) -> str:
    """JPEG bytes as a data URL."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def group_means(facts: Facts, face: int) -> list[tuple[list[float], float]]:
    """The times and the image members' weighted mean score of each group of a face."""
    members = [member for member in facts["members"].values() if member["branch"] == "image" and member["faces"]]
    groups = zip(*(member["faces"][face]["groups"] for member in members), strict=True)
    weights = [member["weight"] for member in members]
    return [(group[0]["times"], fmean((part["score"] for part in group), weights)) for group in groups]


def timeline(facts: Facts) -> list[dict[str, Any]]:
    """For each face the points, in the chart's pixels, of its score over time, and its line of detections below."""
    end = max(facts["video"]["duration"] or 0, facts["sampling"]["times"][-1], 0.001)

    def across(time: float) -> float:
        return round(CHART["left"] + time / end * (CHART["width"] - CHART["left"] - 10), 1)

    def up(score: float) -> float:
        return round((CHART["height"] - CHART["bottom"]) * (1 - score) + 6, 1)

    return [
        {
            "colour": COLOURS[face],
            "points": [(across(fmean(times)), up(score)) for times, score in group_means(facts, face)],
            "detected": [across(found["time"]) for found in track["detections"]],
        }
        for face, track in enumerate(facts["tracks"])
    ]


def strips(facts: Facts, faces: list[Face], kinds: Mapping[str, Kind], sampled: Sampled) -> list[list[dict[str, Any]]]:
    """For each face up to STRIP crops with time and score, the most suspicious first; without image
    members, spread over time.
    """
    found = []
    for number, face in enumerate(faces):
        if "image" in kinds:
            crops, frames = face.crops[kinds["image"]], frames_of("image", sampled.frames)
            scored = [(score, at * GROUP + GROUP // 2) for at, (_, score) in enumerate(group_means(facts, number))]
            chosen = sorted(scored, key=lambda pair: -pair[0])[:STRIP]
        else:
            crops, frames = face.crops[kinds["video"]], frames_of("video", sampled.frames)
            chosen = [(None, int(at)) for at in np.unique(np.linspace(0, len(crops) - 1, STRIP).astype(int))]
        found.append(
            [
                {"picture": picture(crops[at]), "time": sampled.times[frames[at]], "score": score}
                for score, at in chosen
                if at < len(crops)
            ]
        )
    return found


def page(facts: Facts, sampled: Sampled | None, members: Mapping[str, Member]) -> str:
    """A video's evidence as HTML."""
    scored = facts["status"] == "ok"
    kinds = {member.branch: member.kind for member in members.values()}
    return PAGES.get_template("video.html").render(
        facts=facts,
        verdict=verdict(facts),
        chart=CHART,
        timeline=timeline(facts) if sampled and sampled.faces and scored else [],
        strips=strips(facts, sampled.faces, kinds, sampled) if sampled and scored else [],
        poster=data_url(sampled.poster) if sampled and sampled.poster else None,
        colours=COLOURS,
    )


def write_evidence(folder: Path, facts: Facts, sampled: Sampled | None, members: Mapping[str, Member]) -> None:
    """A video's JSON and page, the JSON last."""
    write_text(evidence_file(folder, facts["filename"], ".html"), page(facts, sampled, members))
    crop = middle_crop(sampled) if sampled and sampled.faces else None
    thumbnail = None if crop is None else picture(crop)
    text = json.dumps(facts | {"thumbnail": thumbnail}, indent=1, allow_nan=False)
    write_text(evidence_file(folder, facts["filename"], ".json"), text + "\n")


def evidence_file(folder: Path, filename: str, suffix: str) -> Path:
    """Where a video's JSON or page lies; a name too long to add to is cut, with a digest in place of its end."""
    name = os.fsencode(Path(filename).name)
    if len(name) > LONGEST or filename == "index":
        digest = hashlib.sha256(name).hexdigest()[:12]
        name = f"{name[: LONGEST - 40].decode(errors='ignore')}~{digest}".encode()
    return folder / Path(filename).parent / f"{os.fsdecode(name)}{suffix}"


def middle_crop(sampled: Sampled) -> np.ndarray | None:
    """The first face in the middle of the video; None where too few frames were sampled for any member to see."""
    kinds = sampled.faces[0].crops
    crops = kinds[max(kinds, key=lambda kind: (len(kinds[kind]), kind))]
    return crops[len(crops) // 2] if len(crops) else None


def write_index(folder: Path, names: list[str]) -> None:
    """`index.html` over the evidence of these videos."""
    rows = [index_row(folder, name) for name in names]
    write_text(folder / "index.html", PAGES.get_template("index.html").render(rows=rows))


def index_row(folder: Path, name: str) -> dict[str, Any]:
    """What the index says of a video. Raises BadInputError if its evidence is not there."""
    path = evidence_file(folder, name, ".json")
    if not path.is_file():
        raise BadInputError(f"{path} is missing: score the video again")
    facts = json.loads(path.read_bytes())
    shown = {key: facts[key] for key in ("filename", "label", "status", "thumbnail")}
    page = evidence_file(folder, name, ".html").relative_to(folder)
    more = {"faces": len(facts.get("tracks", ())), "seconds": facts.get("video", {}).get("duration")}
    return shown | more | {"verdict": verdict(facts)["name"], "link": quote(os.fsencode(page))}
