"""What a video's score rests on, for a person who must defend it: `--evidence DIR` writes a JSON and a page a video.

DIR/<filename>.json   the input and its sha256, what was sampled, each face's boxes and times, each member's probabilities by group
                      of five frames with the rules that put them together, what was not analysed, provenance
DIR/<filename>.html   the same as one self-contained page (inference.pages)
DIR/index.html        all videos of a run
"""

import hashlib
import platform
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from inference.members import Member, share
from inference.rows import Row
from inference.sampled import Face, Sampled, frames_of
from inference.scoring import GROUP, Ensemble, Score

Facts = dict[str, Any]
PACKAGES = ("torch", "torchvision", "timm", "onnxruntime", "opencv-python-headless", "numpy", "av")


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache
def provenance(members: tuple[tuple[str, Member], ...], models: Path, weights: Path, device: str, precision: str) -> Facts:
    """What scored: software versions, device, precision, and the sha256 of the detector, of each checkpoint and its config."""
    files = {
        name: {
            "checkpoint": str(models / member.file),
            "sha256": sha256(models / member.file),
            "config": member.trained_by,
            "config_sha256": sha256(Path(member.trained_by)),
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


def failed_facts(row: Row, path: Path) -> Facts:
    """The evidence of a video that could not be read."""
    exists = path.is_file()
    source = {"path": str(path), "bytes": path.stat().st_size if exists else None, "sha256": readable_sha256(path)}
    return {"filename": row["filename"], "status": row["status"], "reason": row["reason"], "label": row["label"], "input": source}


def readable_sha256(path: Path) -> str | None:
    """The sha256 of a file, None where there is none or it may not be read."""
    try:
        return sha256(path)
    except OSError:
        return None


def facts_of(
    row: Row, path: Path, sampled: Sampled, members: Mapping[str, Member], scores: Mapping[str, Score], result: Ensemble
) -> Facts:
    """The evidence of a video that could be read."""
    info = sampled.info
    branches = {"image": result.image, "video": result.video}
    return failed_facts(row, path) | {
        "video": {
            "duration": round(info.frames / info.fps, 3) if info.fps else None,
            "fps": round(info.fps, 4),
            "frames": info.frames,
            "width": info.width,
            "height": info.height,
            "rotation": info.rotation,
            "damaged_packets": sampled.damaged,
        },
        "sampling": {
            "every": sampled.interval,
            "frames": sampled.frames,
            "times": [round(sampled.time(frame), 3) for frame in range(sampled.frames)],
        },
        "faces": {"voted": sampled.voted_faces, "voted_in_frames": sampled.voted_frames},
        "tracks": [track_facts(face, sampled) for face in sampled.faces],
        "rule": result.final.rule,
        "branches": {name: {"score": score.value, "rule": score.rule} for name, score in branches.items()},
        "members": {name: member_facts(member, scores[name], sampled) for name, member in members.items()} if scores else {},
        "not_analysed": not_analysed(row, sampled, members),
    }


def track_facts(face: Face, sampled: Sampled) -> Facts:
    """A face's crop side in pixels and its detections: sampled frame, time, box (x1, y1, x2, y2), score."""
    detections = [
        {"frame": found.frame, "time": round(sampled.time(found.frame), 3), "box": found.box, "score": round(found.score, 4)}
        for found in face.track
    ]
    return {"crop_side": face.squares[0].size, "detections": detections}


def member_facts(member: Member, score: Score, sampled: Sampled) -> Facts:
    """A member's score, the rule of it, its share of the final score, and each face's score with its groups."""
    frames = frames_of(member.branch, sampled.frames)
    faces = []
    for part in score.parts:
        faces.append({"score": part.value, "rule": part.rule})
        if member.branch == "image":
            times = [[round(sampled.time(frame), 3) for frame in frames[at : at + GROUP]] for at in range(0, len(frames), GROUP)]
            faces[-1]["groups"] = [{"score": group.value, "times": times[at]} for at, group in enumerate(part.parts)]
    return {
        "score": score.value,
        "rule": score.rule,
        "branch": member.branch,
        "arch": member.arch,
        "weight": member.weight,
        "share": share(member),
        "faces": faces,
    }


def not_analysed(row: Row, sampled: Sampled, members: Mapping[str, Member]) -> list[str]:
    """What the score does not rest on, in sentences."""
    said = []
    if sampled.interval > 1:
        said.append(f"Of {sampled.info.frames} frames, {sampled.frames} were looked at: one in {sampled.interval}.")
    if any(member.branch == "image" for member in members.values()):
        said.append(f"The image members see {len(frames_of('image', sampled.frames))} of these, in groups of five.")
    if sampled.voted_faces > len(sampled.faces):
        said.append(f"Most frames show {sampled.voted_faces} faces; only the {len(sampled.faces)} seen longest were scored.")
    for number, face in enumerate(sampled.faces, start=1):
        if absent := sampled.frames - len(face.track):
            said.append(f"Face {number} was not detected in {absent} of the frames; its nearest detection stands in there.")
    if sampled.damaged:
        said.append(f"{sampled.damaged} damaged packets could not be decoded.")
    if row.get("left_out"):
        said.append(
            f"Members without a checkpoint were left out: {', '.join(row['left_out'])}; the others' weights were scaled up."
        )
    if not sampled.faces:
        said.append("No face was found in most frames, so no network looked at the video.")
    return [*said, "The sound, the background, and whatever lies outside the face crops were not looked at."]
