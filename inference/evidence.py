"""What a video's score rests on, for a person who must defend it: `--evidence DIR` writes a JSON and a page a video.

DIR/<filename>.json   the input and its sha256, what was sampled, each face's boxes and times, each member's
                      probabilities by group of five frames with the rules that put them together, what was not
                      analysed, provenance
DIR/<filename>.html   the same as one self-contained page (inference.pages)
DIR/index.html        all videos of a run
"""

import platform
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from common.weights import sha256
from inference.ledger import state_of
from inference.members import Member, shares
from inference.rows import Row
from inference.sampled import Face, Sampled, frames_of
from inference.scoring import GROUP, Ensemble, Score

Facts = dict[str, Any]
PACKAGES = ("torch", "torchvision", "timm", "onnxruntime", "opencv-python-headless", "numpy", "av")


@lru_cache
def provenance(
    members: tuple[tuple[str, Member], ...], models: Path, weights: Path, device: str, precision: str
) -> Facts:
    """What scored: software versions, device, precision, and the sha256 of the detector, of each
    checkpoint and its config.
    """
    files = {
        name: {
            "checkpoint": str(models / member.file),
            "sha256": sha256(models / member.file),
            "config": member.trained_by,
            "config_sha256": sha256(Path(member.trained_by)),
            "pixels": member.size,
            "share_of_crop": member.share,
        }
        for name, member in members
    }
    return {
        "versions": {"python": platform.python_version()} | {package: version(package) for package in PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}",
        "device": device,
        "precision": precision,
        "detector": {"weights": str(weights), "sha256": sha256(weights)},
        "members": files,
    }


def input_facts(row: Row, path: Path) -> Facts:
    """The evidence of any video; of one that could not be read, all of it."""
    state = state_of(path)
    source = {"path": str(path), "bytes": state[1] if state else None, "sha256": readable_sha256(path)}
    return {
        "filename": row["filename"],
        "status": row["status"],
        "reason": row["reason"],
        "label": row["label"],
        "input": source,
    }


def readable_sha256(path: Path) -> str | None:
    """The sha256 of a file, None where there is none (a pipe is none) or it may not be read."""
    try:
        return sha256(path) if path.is_file() else None
    except OSError:
        return None


def facts_of(
    row: Row, path: Path, sampled: Sampled, members: Mapping[str, Member], scores: Mapping[str, Score], result: Ensemble
) -> Facts:
    """The evidence of a video that could be read."""
    info = sampled.info
    branches, final = {"image": result.image, "video": result.video}, shares(members)
    return input_facts(row, path) | {
        "video": {
            "duration": round(sampled.duration, 3),
            "fps": round(info.fps, 4),
            "frames": info.frames,
            "width": info.width,
            "height": info.height,
            "rotation": info.rotation,
            "damaged_packets": sampled.damaged,
        },
        "sampling": {
            "every": sampled.interval,
            "times_from": sampled.times_from,
            "frames": sampled.frames,
            "times": [round(time, 3) for time in sampled.times],
        },
        "faces": {
            "voted": sampled.voted_faces,
            "voted_in_frames": sampled.voted_frames,
            "other_detections": sampled.other_detections,
        },
        "tracks": [track_facts(face, sampled) for face in sampled.faces],
        "rule": result.final.rule,
        "branches": {name: {"score": score.value, "rule": score.rule} for name, score in branches.items()},
        "members": {name: member_facts(member, scores[name], sampled, final[name]) for name, member in members.items()}
        if scores
        else {},
        "not_analysed": not_analysed(row, sampled, members),
    }


def track_facts(face: Face, sampled: Sampled) -> Facts:
    """A face's crop side in pixels and its detections: sampled frame, time, box (x1, y1, x2, y2), score."""
    detections = [
        {
            "frame": found.frame,
            "time": round(sampled.times[found.frame], 3),
            "box": found.box,
            "score": round(found.score, 4),
        }
        for found in face.track
    ]
    return {"crop_side": face.squares[0].size, "detections": detections}


def member_facts(member: Member, score: Score, sampled: Sampled, share: float) -> Facts:
    """A member's score, the rule of it, its share of the final score, and each face's score with its groups."""
    frames = frames_of(member.branch, sampled.frames)
    faces = []
    for part in score.parts:
        faces.append({"score": part.value, "rule": part.rule})
        if member.branch == "image":
            times = [
                [round(sampled.times[frame], 3) for frame in frames[at : at + GROUP]]
                for at in range(0, len(frames), GROUP)
            ]
            faces[-1]["groups"] = [{"score": group.value, "times": times[at]} for at, group in enumerate(part.parts)]
    return {
        "score": score.value,
        "rule": score.rule,
        "branch": member.branch,
        "arch": member.arch,
        "weight": member.weight,
        "share": share,
        "faces": faces,
    }


def not_analysed(row: Row, sampled: Sampled, members: Mapping[str, Member]) -> list[str]:
    """What the score does not rest on, in sentences."""
    said = []
    if sampled.interval > 1:
        said.append(f"Of {sampled.info.frames} frames, {sampled.frames} were looked at: one in {sampled.interval}.")
    if sampled.faces and any(member.branch == "image" for member in members.values()):
        said.append(f"The image members see {len(frames_of('image', sampled.frames))} of these, in groups of five.")
    if sampled.faces and (sampled.voted_faces > len(sampled.faces) or sampled.other_detections):
        seen = f"{sampled.voted_faces} faces are what most frames agree on ({sampled.voted_frames} of {sampled.frames})"
        others = f"{sampled.other_detections} detections of other faces were not looked at"
        said.append(f"{seen}; the {len(sampled.faces)} seen longest were scored, and {others}.")
    for number, face in enumerate(sampled.faces, start=1):
        if absent := sampled.frames - len(face.track):
            said.append(
                f"Face {number} was not detected in {absent} of the frames; its nearest detection stands in there."
            )
    if sampled.damaged:
        said.append(f"{sampled.damaged} damaged packets could not be decoded.")
    if row.get("left_out"):
        said.append(
            f"Members without a checkpoint were left out: {', '.join(row['left_out'])}; the others' weights were scaled up."
        )
    if not sampled.faces:
        said.append(
            f"{sampled.voted_frames} of {sampled.frames} frames show no face, so no network looked at the video."
        )
    return [*said, "The sound, the background, and whatever lies outside the face crops were not looked at."]
