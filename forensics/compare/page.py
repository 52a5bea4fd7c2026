"""What a comparison found, as JSON and as a page for people."""

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import cv2
import numpy as np

from common.files import write_text
from forensics.compare.differences import FaceDifference, Seen
from forensics.compare.overlay import CLEAR
from forensics.compare.steps import Comparison
from inference.evidence.facts import Provenance
from inference.evidence.pages import COLOURS, evidence_file, pages_with
from inference.evidence.pictures import data_url
from inference.results import Result

PAGES = pages_with(Path(__file__).parent / "templates")
CHANGED = 2.5  # times what compression explains; unchanged faces of the sample clips have 1.9 at most
FULL = 32.0  # levels at the end of the colour scale
MOST = 6  # moments that are shown of a face
APART = 0.1  # of the stretch between moments that are shown, at least
CHART = {"width": 720, "height": 180, "left": 40, "bottom": 22}
MAP_WIDTH = 480


class Triple(NamedTuple):
    """A moment of a face on the page: its time, its difference, and data URLs of suspect, original and difference."""

    time: float
    mean: float
    pictures: tuple[str, str, str]


class Line(NamedTuple):
    """A line of the chart: its name, its colour, and its points."""

    name: str
    colour: str
    points: list[tuple[float, float]]


def facts_of(found: Comparison, provenance: Provenance) -> dict[str, Any]:
    """The content of comparison.json."""
    here, there = found.stretch
    differences, placed = found.differences, found.placed
    rest = differences.rest
    return {
        "suspect": side(found.results[0]),
        "original": side(found.results[1]),
        "time": {
            "offset": round(found.offset.seconds, 4),
            "speed": round(found.offset.speed, 4),
            "frames": len(found.offset.pairs),
            "of": [len(found.suspect.times), len(found.original.times)],
            "suspect": [round(value, 3) for value in here],
            "original": [round(value, 3) for value in there],
            "together": None if found.offset.together is None else round(found.offset.together, 4),
        },
        "picture": {
            "matrix": placed.matrix.round(5).tolist(),
            "scale": [round(value, 4) for value in placed.scale],
            "rotation": round(turned(found), 3),
            "mirrored": placed.mirrored,
            "shown": list(found.shown),
            "points": [placed.agree, placed.matches],
            "gain": found.levels.gain.round(4).tolist(),
            "shift": found.levels.shift.round(3).tolist(),
        },
        "rest": {"mean": round(rest.mean, 4), "clear": round(rest.share, 5)} if rest.pixels else None,
        "faces": [face_facts(found, number) for number in range(len(differences.faces))],
        "moments": {
            "times": differences.over_time,
            "rest": [rounded(value) for value in differences.rest_over_time],
        },
        "provenance": asdict(provenance),
    }


def rounded(value: float) -> float | None:
    """A difference for JSON, None for NaN."""
    return None if math.isnan(value) else round(value, 4)


def side(result: Result) -> dict[str, Any]:
    """One of the clips: its file and its scores."""
    of_result = ("filename", "status", "reason", "label", "verdict", "members", "false_positive_rate")
    return {
        "path": str(result.path),
        "sha256": result.evidence.input.sha256 if result.evidence else None,
        **{name: getattr(result, name) for name in of_result},
    }


def turned(found: Comparison) -> float:
    """The rotation in degrees, 0 if there is none worth saying."""
    return found.placed.rotation if abs(found.placed.rotation) > 0.05 else 0.0


def is_changed(face: FaceDifference) -> bool | None:
    """Whether a face differs by more than compression explains; None if that is not known."""
    if not face.seen or not np.isfinite(face.peak):
        return None
    return face.peak >= CHANGED


def face_facts(found: Comparison, number: int) -> dict[str, Any]:
    """A face of the suspect beside the one in its place."""
    face, match = found.differences.faces[number], found.same_face[number]
    ours = found.results[0].faces[number]
    theirs = None if match is None else found.results[1].faces[match]
    changed = is_changed(face)
    return {
        "number": ours.number,
        "original_number": theirs.number if theirs else None,
        "score": ours.score,
        "original_score": theirs.score if theirs else None,
        "members": {
            name: [value, theirs.members.get(name) if theirs else None] for name, value in ours.members.items()
        },
        "changed": changed,
        "moments": len(face.seen),
        "mean": round(face.whole.mean, 4),
        "explained": None if changed is None else round(face.explained.mean, 4),
        "times_explained": None if changed is None else round(face.peak, 3),
        "clear": round(face.whole.share, 5),
        "where": face.place if changed is not None else None,
        "when": face.largest.time if face.seen else None,
        "over_time": [[one.time, round(one.mean, 4)] for one in face.seen],
    }


def sentences(facts: dict[str, Any]) -> list[str]:
    """What was found, for people."""
    time, picture, rest = facts["time"], facts["picture"], facts["rest"]
    here, there = time["suspect"], time["original"]
    how = [f"scaled to {100 * picture['scale'][0]:.0f} x {100 * picture['scale'][1]:.0f} %"]
    how += ["mirrored"] if picture["mirrored"] else []
    how += [f"turned by {picture['rotation']:.1f} degrees"] if picture["rotation"] else []
    how += [f"{time['speed']:.3g} times as fast"] if time["speed"] != 1 else []
    said = [
        f"{time['frames']} of {time['of'][0]} frames have their like in the original: {here[0]:.2f} to {here[1]:.2f} s "
        f"show what it shows at {there[0]:.2f} to {there[1]:.2f} s, {', '.join(how)}."
    ]
    if time["together"] is None:
        said.append("Hardly anything moves in them, so the offset is not sure.")
    said.append(
        f"Outside the faces the pictures differ by {rest['mean']:.2f} of 255 levels; {100 * rest['clear']:.1f} % of "
        f"the pixels there differ by more than {CLEAR:.0f}."
        if rest
        else "Nothing of the picture is left outside the faces."
    )
    return said + [of_face(face) for face in facts["faces"]]


def of_face(face: dict[str, Any]) -> str:
    """What was found of a face, for people."""
    name = f"Face {face['number']}"
    if not face["moments"]:
        return f"{name} is not seen where both clips show the same."
    if face["changed"] is None:
        return (
            f"{name} differs by {face['mean']:.1f} levels; too little of the picture is left to say what explains it."
        )
    numbers = f"it differs by {face['mean']:.1f} levels, of which compression explains {face['explained']:.1f}"
    if not face["changed"]:
        return f"{name} was not changed, as far as can be told: {numbers}."
    where = f"{face['times_explained']:.0f} times as much in its {face['where']}, most at {face['when']:.2f} s"
    return f"{name} was changed: {numbers}; {where}."


def heat(levels: np.ndarray) -> np.ndarray:
    """Levels [h, w] as colours, BGR uint8; grey where they are not known."""
    known = np.nan_to_num(np.clip(levels / FULL, 0, 1))
    coloured = cv2.applyColorMap((255 * known).astype(np.uint8), cv2.COLORMAP_INFERNO)
    coloured[np.isnan(levels)] = 128
    return coloured


def moments_of(face: FaceDifference, stretch: float) -> list[Triple]:
    """The moments at which a face differs most, some way from each other, in their order in time."""
    taken: list[Seen] = []
    for one in sorted(face.seen, key=lambda one: -one.mean):
        if len(taken) < MOST and all(abs(one.time - other.time) >= APART * stretch for other in taken):
            taken.append(one)
    return [
        Triple(one.time, one.mean, (data_url(one.suspect), data_url(one.original), data_url(heat(one.apart))))
        for one in sorted(taken, key=lambda one: one.time)
    ]


def chart_of(found: Comparison) -> tuple[list[Line], float]:
    """The lines of the chart, and the levels at its top."""
    (start, end), _ = found.stretch
    differences = found.differences
    faces = [[(one.time, one.mean) for one in face.seen] for face in differences.faces]
    over_time = zip(differences.over_time, differences.rest_over_time, strict=True)
    rest = [(time, value) for time, value in over_time if not math.isnan(value)]
    top = max([value for line in (*faces, rest) for _, value in line] + [1.0]) * 1.05

    def points(line: list[tuple[float, float]]) -> list[tuple[float, float]]:
        across, up = CHART["width"] - CHART["left"] - 10, CHART["height"] - CHART["bottom"]
        return [
            (
                round(CHART["left"] + across * (time - start) / max(end - start, 1e-3), 1),
                round(6 + up * (1 - value / top), 1),
            )
            for time, value in line
        ]

    lines = [
        Line(f"face {number}", COLOURS[number % len(COLOURS)], points(line))
        for number, line in enumerate(faces, start=1)
    ]
    return [*lines, Line("the rest of the picture", "#8a949d", points(rest))], top


def page_of(found: Comparison, facts: dict[str, Any]) -> str:
    """The comparison as one self-contained HTML page."""
    (start, end), _ = found.stretch
    lines, top = chart_of(found)
    whole = found.differences.map
    small = cv2.resize(whole, (MAP_WIDTH, round(MAP_WIDTH * whole.shape[0] / whole.shape[1])))
    faces = found.differences.faces
    return PAGES.get_template("comparison.html").render(
        facts=facts,
        sentences=sentences(facts),
        chart=CHART,
        lines=lines,
        top=top,
        begins=start,
        ends=end,
        full=FULL,
        changed=CHANGED,
        scale=data_url(heat(np.linspace(0, FULL, 256)[None].repeat(8, axis=0))),
        whole=data_url(heat(small)),
        maps=[data_url(heat(face.map)) if face.seen else None for face in faces],
        moments=[moments_of(face, end - start) for face in faces],
        links=[
            quote(os.fsencode(evidence_file(Path(name), result.filename, ".html")))
            for name, result in zip(("suspect", "original"), found.results, strict=True)
        ],
    )


def write_comparison(found: Comparison, provenance: Provenance, folder: Path) -> dict[str, Any]:
    """Write both clips' evidence, comparison.html and comparison.json; return what the last holds."""
    for name, result in zip(("suspect", "original"), found.results, strict=True):
        result.save_evidence(folder / name)
    facts = facts_of(found, provenance)
    write_text(folder / "comparison.html", page_of(found, facts))
    write_text(folder / "comparison.json", json.dumps(facts, indent=1, allow_nan=False) + "\n")
    return facts
