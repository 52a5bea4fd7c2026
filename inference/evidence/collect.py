"""What a result rests on, for a person who must defend it: `--evidence DIR` writes three files per video.

DIR/<filename>.json         the input and its sha256; which frames were sampled; each face's boxes and times; each
                            member's scores by group of five frames, with the rules that combine them; what was not
                            analysed; provenance
DIR/<filename>.html         the same as one self-contained page (inference.evidence.pages)
DIR/<filename>.verify.json  digests of both, for `inference.verify` and to be signed
DIR/index.html              all videos of a run
"""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from common.files import file_state, sha256
from inference.conclude import combine
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
from inference.evidence.maps import CropMap, describe_place
from inference.evidence.pictures import pictures_of
from inference.members import Member, final_weights
from inference.results import FaceResult, Result
from inference.sampling.sampled import Face, Sampled
from inference.scoring import Score
from inference.settings import Setup

PACKAGES = ("onnxruntime", "opencv-python-headless", "numpy", "av", "pillow")
TORCH_PACKAGES = ("torch", "torchvision", "timm")  # of the runtime torch
BEYOND_FACES = "The sound, the background, and whatever lies outside the face crops were not looked at."
LOCKS = tuple(Path(__file__).parents[2] / name for name in ("requirements.lock", "requirements-score.lock"))


def provenance_of(setup: Setup) -> Provenance:
    """Which files, versions and settings make the scores of a setup."""
    models, packages = setup.settings.models, (*PACKAGES, *(TORCH_PACKAGES if setup.runtime == "torch" else ()))
    files = {
        name: MemberFiles(
            checkpoint=str(models / member.file),
            sha256=sha256(models / member.file),
            onnx_sha256=sha256(models / member.onnx) if setup.runtime == "onnx" else None,
            config=member.trained_by,
            config_sha256=sha256(Path(member.trained_by)),
            pixels=member.size,
            crop_fraction=member.crop_fraction,
        )
        for name, member in setup.members.items()
    }
    return Provenance(
        versions={"python": platform.python_version()} | {package: version(package) for package in packages},
        machine=f"{platform.system()} {platform.machine()}",
        runtime=setup.runtime,
        device=setup.device,
        precision=setup.settings.precision,
        detector=DetectorFile(str(setup.detector_weights), sha256(setup.detector_weights)),
        members=files,
        calibration=readable_sha256(setup.calibration_file),
        locks={path.name: sha256(path) for path in LOCKS if path.is_file()},
        settings=setup.settings.values("recorded"),
    )


def evidence_of(
    result: Result,
    path: Path,
    provenance: Provenance,
    members: Mapping[str, Member],
    sampled: Sampled | None = None,
    scores: Mapping[str, Score] | None = None,
    maps: Sequence[Sequence[CropMap]] = (),
) -> Evidence:
    """What a result rests on; without `sampled` and its scores the video could not be read. `maps` are by face."""
    state = file_state(path)
    digest = sampled.sha256 if sampled else None
    source = Input(str(path), int(state[1]) if state else None, digest or readable_sha256(path))
    if sampled is None or scores is None:
        return Evidence(source, provenance)
    analysis = analyse(result, sampled, members, scores, maps)
    return Evidence(source, provenance, analysis, pictures_of(result, sampled, members, maps))


def readable_sha256(path: Path) -> str | None:
    """The sha256 of a regular file; None if there is none (a pipe is not one) or it may not be read."""
    try:
        return sha256(path) if path.is_file() else None
    except OSError:
        return None


def analyse(
    result: Result,
    sampled: Sampled,
    members: Mapping[str, Member],
    scores: Mapping[str, Score],
    maps: Sequence[Sequence[CropMap]],
) -> Analysis:
    """What is known of a video that could be read; `maps` are those of each face."""
    info, timing, final, combined = sampled.info, sampled.timing, final_weights(members), combine(members, scores)
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
        tracks=[track_facts(*face, timing.times) for face in zip(result.faces, sampled.faces, maps, strict=True)],
        rule=combined.final.rule,
        branches={
            "image": BranchFacts(combined.image.value, combined.image.rule),
            "video": BranchFacts(combined.video.value, combined.video.rule),
        },
        members={name: member_facts(members[name], score, sampled, final[name]) for name, score in scores.items()},
        not_analysed=not_analysed(result, sampled, members),
    )


def track_facts(result: FaceResult, face: Face, maps: Sequence[CropMap], times: list[float]) -> TrackFacts:
    """A face's score, where it comes from, and its detections at the times of the sampled frames."""
    detections = [
        Seen(found.frame, round(times[found.frame], 3), found.box, round(found.score, 4)) for found in face.track
    ]
    where = [crop_map.facts for crop_map in sorted(maps, key=lambda crop_map: crop_map.time)]
    return TrackFacts(
        score=result.score,
        rule=result.rule,
        decides=result.decides,
        crop_side=face.squares[0].size,
        where=where,
        place=describe_place(maps),
        detections=detections,
    )


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
    frames, sources, size = sampled.frames_seen(member.branch), sampled.sources(face), sampled.faces[face].group
    found = []
    for at, group in enumerate(score.parts):
        if group.value is not None:
            own = frames[at * size : (at + 1) * size]
            times = [round(sampled.timing.times[sources[frame]], 3) for frame in own]
            found.append(GroupFacts(group.value, times, sum(sources[frame] != frame for frame in own)))
    return found


def not_analysed(result: Result, sampled: Sampled, members: Mapping[str, Member]) -> list[str]:
    """Sentences about what the score does not take into account."""
    said = []
    shown = sampled.total
    if sampled.shot and sampled.shot.of > 1:
        shown = sampled.shot.last - sampled.shot.first + 1
        said.append(f"The evidence below is of shot {sampled.shot.number} of {sampled.shot.of}.")
        if len(result.shots) < sampled.shot.of:
            said.append(f"The {len(result.shots)} longest shots were scored.")
    if sampled.interval > 1:
        said.append(f"Of {shown} frames, {sampled.frames} were looked at: one in {sampled.interval}.")
    if sampled.face_frames < sampled.frames:
        said.append(f"{sampled.face_frames} of {sampled.frames} frames show a face.")
    if sampled.timing.starts >= 0.1:
        said.append(f"The picture begins {sampled.timing.starts:.2f} s after a player's clock does.")
    if sampled.info.still:
        return [*still_not_analysed(sampled, members), BEYOND_FACES]
    if sampled.faces and any(member.branch == "image" for member in members.values()):
        seen = len(sampled.frames_seen("image"))
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
    if result.not_finite:
        said.append(
            f"The networks of {', '.join(result.not_finite)} gave no finite number; the others' weights were scaled up."
        )
    if result.left_out:
        names = ", ".join(result.left_out)
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
