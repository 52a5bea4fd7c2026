"""What a video's score rests on, for a person who must defend it: `--evidence DIR` writes a JSON and a page per video.

DIR/<filename>.json   the input and its sha256; which frames were sampled; each face's boxes and times; each member's
                      probabilities by group of five frames, with the rules that combine them; what was not analysed;
                      provenance
DIR/<filename>.html   the same as one self-contained page (inference.evidence.pages)
DIR/index.html        all videos of a run
"""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from common.files import sha256
from inference.evidence.facts import (
    Analysis,
    BranchFacts,
    DetectorFile,
    Evidence,
    FaceCount,
    FaceScore,
    GroupFacts,
    Input,
    MemberFacts,
    MemberFiles,
    Provenance,
    Sampling,
    Seen,
    TrackFacts,
    VideoFacts,
)
from inference.evidence.maps import CropMap, said_of
from inference.ledger import state_of
from inference.members import Member, final_weights
from inference.rows import FaceRow, Row
from inference.sampling.sampled import Face, Sampled
from inference.scoring import Ensemble, Score

PACKAGES = ("onnxruntime", "opencv-python-headless", "numpy", "av", "pillow")
BEYOND_FACES = "The sound, the background, and whatever lies outside the face crops were not looked at."
LOCKS = tuple(Path(__file__).parents[2] / name for name in ("requirements.lock", "requirements-score.lock"))
TORCH_PACKAGES = ("torch", "torchvision", "timm")  # of the runtime torch


def provenance(
    members: Mapping[str, Member],
    models: Path,
    weights: Path,
    runtime: str,
    device: str,
    precision: str,
    calibration: Path,
    settings: dict[str, int | bool],
) -> Provenance:
    """The provenance of these members' scores; `calibration` is a file that may be absent."""
    packages = (*PACKAGES, *(TORCH_PACKAGES if runtime == "torch" else ()))
    files = {
        name: MemberFiles(
            checkpoint=str(models / member.file),
            sha256=sha256(models / member.file),
            onnx_sha256=sha256(models / member.onnx) if runtime == "onnx" else None,
            config=member.trained_by,
            config_sha256=sha256(Path(member.trained_by)),
            pixels=member.size,
            crop_fraction=member.crop_fraction,
        )
        for name, member in members.items()
    }
    return Provenance(
        versions={"python": platform.python_version()} | {package: version(package) for package in packages},
        machine=f"{platform.system()} {platform.machine()}",
        runtime=runtime,
        device=device,
        precision=precision,
        detector=DetectorFile(str(weights), sha256(weights)),
        members=files,
        calibration=readable_sha256(calibration),
        locks={path.name: sha256(path) for path in LOCKS if path.is_file()},
        settings=settings,
    )


def evidence_of(row: Row, path: Path, digest: str | None, scored_by: Provenance, analysis: Analysis | None) -> Evidence:
    """A video's evidence; `digest` is the sha256 of what was scored, None if the video could not be read."""
    state = state_of(path)
    source = Input(str(path), int(state[1]) if state else None, digest or readable_sha256(path))
    facts = (row.filename, row.status, row.reason, row.label, row.verdict)
    means = (row.false_positive_rate, row.judgement, row.conditions, row.forms, row.stability)
    return Evidence(*facts, *means, source, scored_by, analysis)


def readable_sha256(path: Path) -> str | None:
    """The sha256 of a regular file; None if there is none (a pipe is not one) or it may not be read."""
    try:
        return sha256(path) if path.is_file() else None
    except OSError:
        return None


def analyse(
    row: Row,
    sampled: Sampled,
    members: Mapping[str, Member],
    scores: Mapping[str, Score],
    result: Ensemble,
    maps: Sequence[Sequence[CropMap]],
) -> Analysis:
    """What is known of a video that could be read; `maps` are those of each face."""
    info, timing, final = sampled.info, sampled.timing, final_weights(members)
    return Analysis(
        video=VideoFacts(
            duration=round(timing.duration, 3),
            starts=round(timing.starts, 3),
            fps=round(info.fps, 4),
            frames=sampled.total,
            declared_frames=info.declared,
            width=info.width,
            height=info.height,
            rotation=info.orientation.degrees,
            mirrored=info.orientation.mirrored,
            stream=info.stream,
            streams=info.streams,
            transfer=info.transfer,
            still=info.still,
            pixel_aspect=f"{info.pixel_aspect.numerator}:{info.pixel_aspect.denominator}",
            damaged_packets=sampled.damaged,
            concealed_frames=sampled.concealed,
        ),
        file=dict(sampled.file),
        sampling=Sampling(
            every=sampled.interval,
            times_from=timing.source,
            frames=sampled.frames,
            times=[round(time, 3) for time in timing.times],
        ),
        faces=FaceCount(
            voted=sampled.voted_faces,
            voted_in_frames=sampled.voted_frames,
            in_frames=sampled.face_frames,
            detections=sampled.detections,
            other_detections=sampled.other_detections,
        ),
        tracks=[track_facts(*face, timing.times) for face in zip(row.each_face, sampled.faces, maps, strict=True)],
        rule=result.final.rule,
        branches={
            "image": BranchFacts(result.image.value, result.image.rule),
            "video": BranchFacts(result.video.value, result.video.rule),
        },
        members={name: member_facts(members[name], score, sampled, final[name]) for name, score in scores.items()},
        not_analysed=not_analysed(row, sampled, members),
        notes=list(row.notes),
        shots=list(row.shots),
    )


def track_facts(row: FaceRow, face: Face, maps: Sequence[CropMap], times: list[float]) -> TrackFacts:
    """A face's score, where it comes from, and its detections at the times of the sampled frames."""
    detections = [
        Seen(found.frame, round(times[found.frame], 3), found.box, round(found.score, 4)) for found in face.track
    ]
    where = [one.facts for one in sorted(maps, key=lambda one: one.time)]
    return TrackFacts(row.score, row.rule, row.decides, face.squares[0].size, where, said_of(maps), detections)


def member_facts(member: Member, score: Score, sampled: Sampled, final_weight: float) -> MemberFacts:
    """A member's score of a video, and how it was made."""
    faces = [
        FaceScore(part.value, part.rule, groups_of(member, part, face, sampled))
        for face, part in enumerate(score.parts)
    ]
    return MemberFacts(score.value, score.rule, member.branch, member.arch, member.weight, final_weight, faces)


def groups_of(member: Member, score: Score, face: int, sampled: Sampled) -> list[GroupFacts]:
    """The groups of five frames that an image member's score of a face was made of."""
    if member.branch != "image":
        return []
    frames, sources, size = sampled.frames_of(member.branch), sampled.sources(face), sampled.group
    found = []
    for at, group in enumerate(score.parts):
        if group.value is not None:
            own = frames[at * size : (at + 1) * size]
            times = [round(sampled.timing.times[sources[frame]], 3) for frame in own]
            found.append(GroupFacts(group.value, times, sum(sources[frame] != frame for frame in own)))
    return found


def not_analysed(row: Row, sampled: Sampled, members: Mapping[str, Member]) -> list[str]:
    """Sentences about what the score does not take into account."""
    said = []
    shown = sampled.total
    if sampled.shot and sampled.shot.of > 1:
        shown = sampled.shot.last - sampled.shot.first + 1
        said.append(f"The evidence below is of shot {sampled.shot.number} of {sampled.shot.of}.")
        if len(row.shots) < sampled.shot.of:
            said.append(f"The {len(row.shots)} longest shots were scored.")
    if sampled.first and sampled.frames < shown:
        said.append(f"Of {shown} frames, the first {sampled.frames} were looked at.")
    if sampled.interval > 1:
        said.append(f"Of {shown} frames, {sampled.frames} were looked at: one in {sampled.interval}.")
    if sampled.face_frames < sampled.frames:
        said.append(f"{sampled.face_frames} of {sampled.frames} frames show a face.")
    if sampled.timing.starts >= 0.1:
        said.append(f"The picture begins {sampled.timing.starts:.2f} s after a player's clock does.")
    if sampled.info.still:
        return [*still_not_analysed(sampled, members), BEYOND_FACES]
    if sampled.faces and any(member.branch == "image" for member in members.values()):
        seen = len(sampled.frames_of("image"))
        said.append(f"The image members see {seen} of these, in groups of five.")
    if sampled.faces and (sampled.voted_faces > len(sampled.faces) or sampled.other_detections):
        most = f"Most frames show {sampled.voted_faces} faces ({sampled.voted_frames} of {sampled.frames})"
        others = f"{sampled.other_detections} of {sampled.detections} detections were not scored"
        said.append(f"{most}; the {len(sampled.faces)} seen longest were scored. {others}.")
    said += undecided(sampled)
    for number, face in enumerate(sampled.faces, start=1):
        if absent := sampled.frames - len(face.track):
            said.append(
                f"Face {number} was not detected in {absent} of the frames. Its nearest detection stands in there."
            )
    if sampled.damaged:
        said.append(f"{sampled.damaged} damaged packets could not be decoded.")
    if sampled.concealed:
        said.append(f"In {sampled.concealed} of {sampled.total} frames the decoder filled in damage by guesses.")
    if row.not_finite:
        said.append(
            f"The networks of {', '.join(row.not_finite)} gave no finite number; the others' weights were scaled up."
        )
    if row.left_out:
        names = ", ".join(row.left_out)
        said.append(f"These members have no checkpoint and were left out: {names}. The others' weights were scaled up.")
    if not sampled.faces:
        said.append(
            f"{sampled.voted_frames} of {sampled.frames} frames show no face, so no network looked at the video."
        )
    return [*said, BEYOND_FACES]


def undecided(sampled: Sampled) -> list[str]:
    """The sentence about faces that the label does not depend on, if there are any."""
    deciding = sum(face.decides for face in sampled.faces)
    if deciding == len(sampled.faces):
        return []
    return [f"The label depends on {deciding} of {len(sampled.faces)} scored faces, as the contract chooses them."]


def still_not_analysed(sampled: Sampled, members: Mapping[str, Member]) -> list[str]:
    """Sentences about what the score of a picture does not take into account."""
    said = ["This is a picture: one frame is one group, and nothing over time can be seen."]
    video = [name for name, member in members.items() if member.branch == "video"]
    if video:
        said.append(f"The video members ({', '.join(video)}) have no score of a picture.")
    if sampled.other_detections:
        said.append(f"{sampled.other_detections} of {sampled.detections} detections were not scored.")
    if not sampled.faces:
        said.append("It shows no face, so no network looked at it.")
    return said + undecided(sampled)
