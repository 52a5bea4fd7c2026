"""A comparison for people: in sentences, as a page, and the files of both and of the facts."""

import json
import math
import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import cv2
import numpy as np

from common.files import write_text
from forensics.compare.differences import CHANGED, FaceDifference, FaceMoment
from forensics.compare.facts import (
    ComparisonFacts,
    FaceFacts,
    NoMatchFacts,
    PictureFacts,
    TimeFacts,
    clip_facts,
    facts_of,
)
from forensics.compare.overlay import CLEAR
from forensics.compare.steps import Comparison
from inference.evidence.facts import Provenance
from inference.evidence.pages import COLOURS, Chart, Point, evidence_file, pages_with
from inference.evidence.pictures import data_url
from inference.results import Result

PAGES = pages_with(Path(__file__).parent / "templates")
FULL = 32.0  # levels at the end of the colour scale
MOST = 6  # moments that are shown per face
APART = 0.1  # of the stretch: the least distance between moments that are shown
CHART = Chart(height=180, left=40)
REST_COLOUR = "#8a949d"
MAP_WIDTH = 480  # pixels
CLIPS = ("suspect", "original")
NO_MATCH = (
    "So they could not be compared. That does not show that the suspect was not made from this original: a copy that "
    "was edited together from short pieces, plays at an unusual speed or was filmed from a screen is not recognised."
)


class Triple(NamedTuple):
    """A moment of a face on the page: its time, its difference, and data URLs of suspect, original and difference."""

    time: float
    mean: float
    pictures: tuple[str, str, str]


class Line(NamedTuple):
    """A line of the chart."""

    name: str
    colour: str
    points: list[Point]


class FacePictures(NamedTuple):
    """The pictures of a face on the page: data URL of its mean difference over time, and moments."""

    map: str
    moments: list[Triple]


def describe(facts: ComparisonFacts | NoMatchFacts) -> list[str]:
    """What the comparison found, in sentences."""
    if isinstance(facts, NoMatchFacts):
        return [f"The two clips have no stretch in common: {facts.reason}.", NO_MATCH]
    sentences = [describe_overlap(facts.time, facts.picture)]
    if facts.time.together is None:
        sentences.append("Hardly anything moves in these frames, so the offset is not certain.")
    if facts.rest:
        sentences.append(
            f"Outside the faces the pictures differ by {facts.rest.mean:.2f} of 255 levels; "
            f"{100 * facts.rest.clear:.1f}% of the pixels there differ by more than {CLEAR:.0f}."
        )
    else:
        sentences.append("Nothing of the picture is left outside the faces.")
    return sentences + [describe_face(face) for face in facts.faces]


def describe_overlap(time: TimeFacts, picture: PictureFacts) -> str:
    """When both clips show the same, and what was done to the original's picture, in a sentence."""
    how = [f"scaled to {100 * picture.scale.width:.0f}% x {100 * picture.scale.height:.0f}%"]
    how += ["mirrored"] if picture.mirrored else []
    how += [f"turned by {picture.rotation:.1f} degrees"] if picture.rotation else []
    how += [f"{time.speed:.3g} times as fast"] if time.speed != 1 else []
    return (
        f"{time.frames} of {time.of.suspect} frames look like frames of the original: "
        f"{time.suspect[0]:.2f} to {time.suspect[1]:.2f} s show what the original shows at "
        f"{time.original[0]:.2f} to {time.original[1]:.2f} s, {', '.join(how)}."
    )


def describe_face(face: FaceFacts) -> str:
    """What was found about a face, in a sentence."""
    name = f"Face {face.number}"
    if not face.moments:
        return f"{name} is not seen where both clips show the same."
    if face.changed is None:
        return (
            f"{name} differs by {face.mean:.1f} levels; too little of the picture is left to tell what explains that."
        )
    numbers = f"it differs by {face.mean:.1f} levels, of which compression explains {face.explained:.1f}"
    if not face.changed:
        return f"{name} was not changed, as far as can be told: {numbers}."
    return (
        f"{name} was changed: {numbers}. The difference is largest in the {face.where} of the face "
        f"({face.times_explained:.0f} times what compression explains) and at {face.when:.2f} s."
    )


def heat(levels: np.ndarray) -> np.ndarray:
    """Levels [h, w] as colours, BGR uint8 [h, w, 3]; grey where they are NaN."""
    shares = np.nan_to_num(np.clip(levels / FULL, 0, 1))
    coloured = cv2.applyColorMap((255 * shares).astype(np.uint8), cv2.COLORMAP_INFERNO)
    coloured[np.isnan(levels)] = 128
    return coloured


def moments_shown(face: FaceDifference, stretch: float) -> list[Triple]:
    """The moments at which a face differs most, some distance from each other, in order; `stretch` is in seconds."""
    taken: list[FaceMoment] = []
    for moment in sorted(face.moments, key=lambda moment: -moment.mean):
        if len(taken) < MOST and all(abs(moment.time - other.time) >= APART * stretch for other in taken):
            taken.append(moment)
    return [
        Triple(
            moment.time,
            moment.mean,
            (data_url(moment.suspect), data_url(moment.original), data_url(heat(moment.difference))),
        )
        for moment in sorted(taken, key=lambda moment: moment.time)
    ]


def chart_lines(comparison: Comparison) -> tuple[list[Line], float]:
    """The lines of the chart, and the levels at its top."""
    (start, end), _ = comparison.alignment.stretch
    differences = comparison.differences
    faces = [[(moment.time, moment.mean) for moment in face.moments] for face in differences.faces]
    over_time = zip(differences.times, differences.rest_over_time, strict=True)
    rest = [(time, value) for time, value in over_time if not math.isnan(value)]
    top = max([value for values in (*faces, rest) for _, value in values] + [1.0]) * 1.05

    def points(values: list[tuple[float, float]]) -> list[Point]:
        return [Point(CHART.x((time - start) / max(end - start, 1e-3)), CHART.y(value / top)) for time, value in values]

    lines = [
        Line(f"face {number}", COLOURS[number % len(COLOURS)], points(values))
        for number, values in enumerate(faces, start=1)
    ]
    return [*lines, Line("the rest of the picture", REST_COLOUR, points(rest))], top


def page_of(comparison: Comparison, facts: ComparisonFacts) -> str:
    """The comparison as a self-contained HTML page."""
    (start, end), _ = comparison.alignment.stretch
    lines, top = chart_lines(comparison)
    whole = comparison.differences.map
    small = cv2.resize(whole, (MAP_WIDTH, round(MAP_WIDTH * whole.shape[0] / whole.shape[1])))
    return PAGES.get_template("comparison.html").render(
        facts=facts,
        sentences=describe(facts),
        changed=CHANGED,
        chart=CHART,
        lines=lines,
        labels=[f"{share * top:.1f}" for share in (0, 0.5, 1)],
        start=start,
        end=end,
        full=FULL,
        scale=data_url(heat(np.linspace(0, FULL, 256)[None].repeat(8, axis=0))),
        whole=data_url(heat(small)),
        pictures=[
            FacePictures(data_url(heat(face.map)), moments_shown(face, end - start)) if face.moments else None
            for face in comparison.differences.faces
        ],
        links=links_of(comparison.results),
    )


def links_of(results: tuple[Result, Result]) -> list[str]:
    """The links from the page to the evidence of both clips."""
    pages = [evidence_file(Path(name), result.filename, ".html") for name, result in zip(CLIPS, results, strict=True)]
    return [quote(os.fsencode(path)) for path in pages]


def write_comparison(comparison: Comparison, provenance: Provenance, folder: Path) -> ComparisonFacts:
    """Write both clips' evidence, comparison.html and comparison.json; return the facts."""
    facts = facts_of(comparison, provenance)
    write_files(comparison.results, facts, page_of(comparison, facts), folder)
    return facts


def write_no_match(results: tuple[Result, Result], reason: str, provenance: Provenance, folder: Path) -> NoMatchFacts:
    """Write the same for two clips that have no stretch in common; `reason` says what was missing."""
    suspect, original = map(clip_facts, results)
    facts = NoMatchFacts(suspect, original, reason, provenance)
    page = PAGES.get_template("clips.html").render(facts=facts, sentences=describe(facts), links=links_of(results))
    write_files(results, facts, page, folder)
    return facts


def write_files(results: tuple[Result, Result], facts: ComparisonFacts | NoMatchFacts, page: str, folder: Path) -> None:
    """Write both clips' evidence, the page and the facts into a folder."""
    for name, result in zip(CLIPS, results, strict=True):
        result.save_evidence(folder / name)
    write_text(folder / "comparison.html", page)
    write_text(folder / "comparison.json", json.dumps(facts.to_json(), indent=1, allow_nan=False) + "\n")
