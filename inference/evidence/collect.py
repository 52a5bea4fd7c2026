"""What a result rests on, for a person who must defend it: `--evidence DIR` writes three files per video.

DIR/<filename>.json         the input and its sha256; which frames were sampled; each face's boxes and times; each
                            member's scores by group of five frames, with the rules that combine them; what was not
                            analysed; provenance
DIR/<filename>.html         the same as one self-contained page (inference.evidence.pages)
DIR/<filename>.verify.json  digests of both, for `inference.verify` and for signing
DIR/index.html              all videos of a run
"""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from common.files import ROOT, file_state, from_root, sha256
from common.version import VERSION, commit
from inference.conclude import combine
from inference.evidence.conclusion import conclusion
from inference.evidence.facts import (
    Analysis,
    BranchFacts,
    DetectionFacts,
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
    TrackFacts,
    VideoFacts,
)
from inference.evidence.history import history_facts
from inference.evidence.limits import not_analysed
from inference.evidence.maps import CropMap, describe_place
from inference.evidence.pictures import pictures_of
from inference.members import Member, final_weights
from inference.results import FaceResult, Result
from inference.sampling.sampled import Face, Sampled
from inference.scoring import Score
from inference.settings import Setup
from inference.verdicts import Calibration

PACKAGES = ("onnxruntime", "opencv-python-headless", "numpy", "av", "pillow")
TORCH_PACKAGES = ("torch", "torchvision", "timm")  # of the runtime torch
LOCKS = tuple(ROOT / name for name in ("requirements.lock", "requirements-score.lock"))


def provenance_of(setup: Setup) -> Provenance:
    """Which files, versions and settings make the scores of a setup."""
    models = setup.settings.models
    packages = PACKAGES + (TORCH_PACKAGES if setup.runtime == "torch" else ())
    files = {
        name: MemberFiles(
            checkpoint=str(models / member.file),
            sha256=sha256(models / member.file),
            onnx_sha256=sha256(models / member.onnx) if setup.runtime == "onnx" else None,
            config=member.trained_by,
            config_sha256=sha256(from_root(Path(member.trained_by))),
            pixels=member.size,
            crop_fraction=member.crop_fraction,
        )
        for name, member in setup.members.items()
    }
    return Provenance(
        versions={"robustforensics": VERSION, "commit": commit(), "python": platform.python_version()}
        | {package: version(package) for package in packages},
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
    setup: Setup,
    sampled: Sampled | None = None,
    scores: Mapping[str, Score] | None = None,
    maps: Sequence[Sequence[CropMap]] = (),
) -> Evidence:
    """What a result rests on. `sampled` and `scores` are None if the video could not be read; `maps` are by face."""
    state = file_state(path)
    digest = sampled.sha256 if sampled else None
    source = Input(str(path), int(state[1]) if state else None, digest or readable_sha256(path))
    still = sampled is not None and sampled.info.still
    sentences = conclusion(result, source.sha256, still, setup.calibration)
    if sampled is None or scores is None:
        return Evidence(source, provenance, sentences)
    analysis = analyse(result, sampled, setup.members, scores, maps, setup.calibration)
    return Evidence(source, provenance, sentences, analysis, pictures_of(result, sampled, setup.members, maps))


def readable_sha256(path: Path) -> str | None:
    """The sha256 of a regular file; None for anything else, such as a pipe, and for a file that may not be read."""
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
    calibration: Calibration | None,
) -> Analysis:
    """What is known about a video that could be read; `maps` are those of each face."""
    timing, final, combined = sampled.timing, final_weights(members), combine(members, scores)
    return Analysis(
        video=video_facts(sampled),
        file=dict(sampled.file),
        history=history_facts(sampled.history, result, calibration) if sampled.history else None,
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
        tracks=[
            track_facts(scored, face, of_face, timing.times)
            for scored, face, of_face in zip(result.faces, sampled.faces, maps, strict=True)
        ],
        rule=combined.final.rule,
        branches={
            "image": BranchFacts(combined.image.value, combined.image.rule),
            "video": BranchFacts(combined.video.value, combined.video.rule),
        },
        members={name: member_facts(members[name], score, sampled, final[name]) for name, score in scores.items()},
        not_analysed=not_analysed(result, sampled, members),
    )


def video_facts(sampled: Sampled) -> VideoFacts:
    """What the file itself says about its pictures."""
    info, timing = sampled.info, sampled.timing
    return VideoFacts(
        duration=round(timing.duration, 3),
        starts=round(timing.starts, 3),
        frames=sampled.total,
        declared_frames=info.declared,
        width=info.width,
        height=info.height,
        pixel_aspect=f"{info.pixel_aspect.numerator}:{info.pixel_aspect.denominator}",
        rotation=info.orientation.degrees,
        mirrored=info.orientation.mirrored,
        stream=info.stream,
        streams=info.streams,
        fps=round(info.fps, 4),
        transfer=info.transfer,
        still=info.still,
        damaged_packets=sampled.damaged,
        concealed_frames=sampled.concealed,
    )


def track_facts(scored: FaceResult, face: Face, maps: Sequence[CropMap], times: Sequence[float]) -> TrackFacts:
    """A face's score, where it comes from, and its detections; `times` are those of the sampled frames."""
    detections = [
        DetectionFacts(detection.frame, round(times[detection.frame], 3), detection.box, round(detection.score, 4))
        for detection in face.track
    ]
    return TrackFacts(
        score=scored.score,
        rule=scored.rule,
        decides=scored.decides,
        crop_side=face.squares[0].size,
        where=[crop_map.facts for crop_map in sorted(maps, key=lambda crop_map: crop_map.time)],
        place=describe_place(maps),
        detections=detections,
    )


def member_facts(member: Member, score: Score, sampled: Sampled, final_weight: float) -> MemberFacts:
    """A member's score of a video, and how it was made."""
    faces = [
        FaceScore(part.value, part.rule, group_facts(member, part, index, sampled))
        for index, part in enumerate(score.parts)
    ]
    return MemberFacts(score.value, score.rule, member.branch, member.arch, member.weight, final_weight, faces)


def group_facts(member: Member, score: Score, face: int, sampled: Sampled) -> list[GroupFacts]:
    """The groups of crops that an image member's score of a face was made of; none for a video member."""
    if member.branch != "image":
        return []
    frames, sources = sampled.crop_frames(member.branch, face), sampled.crop_sources(member.branch, face)
    size = sampled.faces[face].group
    facts = []
    for index, group in enumerate(score.parts):
        if group.value is not None:
            of_group = slice(index * size, (index + 1) * size)
            pairs = list(zip(frames[of_group], sources[of_group], strict=True))
            times = [round(sampled.timing.times[source], 3) for _, source in pairs]
            facts.append(GroupFacts(group.value, times, sum(source != frame for frame, source in pairs)))
    return facts
