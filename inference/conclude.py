"""From what was seen and each member's scores to a result: combine, judge, and take the highest of several shots."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from common.status import Status
from common.version import software
from faces.notes import faces_in, failure
from inference.members import Member
from inference.results import FaceResult, PerturbedResult, Result, ShotResult
from inference.sampling.sampled import Sampled
from inference.scoring import NO_SCORE, NOT_FINITE, Ensemble, Score, Vote, ensemble
from inference.settings import Setup
from inference.verdicts import NOT_SCORED, Calibration, Judgement, verdict

Scores = Mapping[str, Score]  # each member's score of a video, by the member's name


def combine(members: Mapping[str, Member], scores: Scores) -> Ensemble:
    """Combine the members' scores of a video (reference, section 3)."""
    return ensemble({name: Vote(member.branch, member.weight, scores[name].value) for name, member in members.items()})


def failed(name: str, error: Exception, members: Iterable[str]) -> Result:
    """The result of a video that raised one of `common.workers.FAILURES`."""
    status, reason, frames = failure(error, other=Status.DECODE_ERROR)
    return unscored(name, status, reason, frames, dict.fromkeys(members))


def unscored(name: str, status: Status, reason: str, frames: int, members: dict[str, float | None]) -> Result:
    """A result without a score; its label is 0.5."""
    return Result(name, NO_SCORE, status, reason, frames, (), members, None, None, {})


def scored(name: str, members: Mapping[str, Member], sampled: Sampled, scores: Scores) -> Result:
    """The result of a video that could be read, or of one of its shots, before it is judged."""
    combined = combine(members, scores)
    status, reason = status_of(sampled, scores, combined)
    values = {member: score.value for member, score in scores.items()}
    value = combined.final.value
    not_finite = tuple(member for member, score in scores.items() if score.rule == NOT_FINITE)
    result = replace(
        unscored(name, status, reason, sampled.frames, values),
        label=NO_SCORE if value is None or not sampled.faces else value,
        faces=face_results(members, sampled, scores),
        image=combined.image.value,
        video=combined.video.value,
        seconds={stage: round(seconds, 2) for stage, seconds in sampled.seconds.items()},
        face_frames=sampled.face_frames,
        detections=sampled.detections,
        not_scored=sampled.other_detections,
        not_finite=not_finite,
        conditions=sampled.conditions,
        chosen_by=sampled.chosen_by,
    )
    return replace(result, notes=notes_of(result, sampled), shots=shot_results(result, sampled))


def status_of(sampled: Sampled, scores: Scores, combined: Ensemble) -> tuple[Status, str]:
    """The status of a video that could be read, with the reason: the rule that made the score, or why there is none."""
    not_finite = [member for member, score in scores.items() if score.rule == NOT_FINITE]
    if not sampled.faces:
        reason = f"{sampled.voted_frames} of {sampled.frames} sampled frames show no face"
        some_faces = f"; {faces_in(sampled.face_frames, sampled.frames)}" if sampled.face_frames else ""
        return Status.NO_FACE, reason + some_faces
    if combined.final.value is not None:
        return Status.OK, combined.final.rule
    if not_finite:
        return Status.NOT_FINITE, f"{', '.join(not_finite)}: {NOT_FINITE}"
    if sampled.info.still:
        return Status.TOO_FEW_FRAMES, "a still image, which only image members can score"
    return Status.TOO_FEW_FRAMES, f"{sampled.frames} sampled frame{'s' * (sampled.frames > 1)}"


def face_results(members: Mapping[str, Member], sampled: Sampled, scores: Scores) -> tuple[FaceResult, ...]:
    """The results of a video's faces, each scored as if it were the only one."""
    results = []
    for index, face in enumerate(sampled.faces):
        of_face = {name: score.parts[index] if score.parts else score for name, score in scores.items()}
        final = combine(members, of_face).final
        times = tuple(round(sampled.timing.times[detection.frame], 3) for detection in face.track)
        results.append(
            FaceResult(
                number=index + 1,
                score=final.value,
                rule=final.rule,
                decides=face.decides,
                members={name: score.value for name, score in of_face.items()},
                detections=len(face.track),
                first=times[0],
                last=times[-1],
                groups=group_scores(members, of_face),
                times=times,
                boxes=tuple(detection.box for detection in face.track),
            )
        )
    return tuple(results)


def group_scores(members: Mapping[str, Member], scores: Scores) -> tuple[float, ...]:
    """The score of each group of a face, in [0, 1]: the weighted mean of the image members that scored it."""
    images = {name: score for name, score in scores.items() if members[name].branch == "image" and score.parts}
    if not images:
        return ()
    values = np.array([[part.value for part in score.parts] for score in images.values()], float)
    means = np.average(values, axis=0, weights=[members[name].weight for name in images])
    return tuple(round(float(value), 8) for value in means)


def notes_of(result: Result, sampled: Sampled) -> tuple[str, ...]:
    """What a person should know about how the file was read, and about the faces in it."""
    notes = [*sampled.info.notes, *sampled.losses]
    if result.not_finite:
        notes.append(f"left out {', '.join(result.not_finite)}: {NOT_FINITE}")
    return (*notes, *face_notes(result))


def face_notes(result: Result) -> tuple[str, ...]:
    """Notes on sampled frames without a face, and on faces without a score."""
    notes = []
    if 0 < result.face_frames < result.frames:
        notes.append(faces_in(result.face_frames, result.frames))
    if not_scored := result.not_scored if result.status == Status.OK else result.detections:
        notes.append(f"{not_scored} of {result.detections} detections not scored")
    return tuple(notes)


def shot_results(result: Result, sampled: Sampled) -> tuple[ShotResult, ...]:
    """The shot that a result belongs to; empty for a video that was not cut."""
    if sampled.shot is None:
        return ()
    times = sampled.timing.times
    return (
        ShotResult(
            number=sampled.shot.number,
            start=round(times[0], 3),
            end=round(times[-1], 3),
            first_frame=sampled.shot.first,
            last_frame=sampled.shot.last,
            frames=result.frames,
            face_frames=result.face_frames,
            faces=len(result.faces),
            label=result.label,
            status=result.status,
            reason=result.reason,
        ),
    )


def judged(result: Result, calibration: Calibration | None) -> Result:
    """The result, and its shot if it is of one, with what the score means and what it is called."""
    judgement = None
    if calibration and result.status == Status.OK:
        judgement = calibration.judge(result.label, result.conditions)
    result = with_judgement(result, judgement)
    return replace(result, shots=tuple(replace(shot, verdict=result.verdict) for shot in result.shots))


def with_judgement(result: Result, judgement: Judgement | None) -> Result:
    """The result with what a calibration says about its label, and with the verdict that follows."""
    return replace(
        result,
        verdict=verdict(result.status, result.label, result.reason, judgement).name,
        judgement=judgement,
        false_positive_rate=judgement.rate if judgement else None,
    )


def highest(parts: Sequence[Result]) -> tuple[int, Result]:
    """The index of the result with the highest score, and the video's result; `parts` holds one result per shot.

    Results with a score win over results without one; among the latter, those with more frames that show a face.

    The more shots a real video has, the higher its highest score. So the false-positive rate becomes
    1 - (1 - rate) ** shots, as if the shots were independent. They are not, which favours the video.
    """
    best = max(
        range(len(parts)),
        key=lambda index: (parts[index].status == Status.OK, parts[index].label, parts[index].face_frames),
    )
    if len(parts) == 1:
        return best, parts[best]
    (shot,) = parts[best].shots
    which = f"shot {shot.number}, {shot.start:.2f} to {shot.end:.2f} s"
    shots = sum(part.status == Status.OK for part in parts)
    which += f", the highest of {shots} with a score" if shots else f", none of {len(parts)} has a score"
    stages = {stage for part in parts for stage in part.seconds}
    result = replace(
        parts[best],
        reason=f"{which}: {parts[best].reason}",
        shots=tuple(shot for part in parts for shot in part.shots),
        seconds={stage: round(sum(part.seconds.get(stage, 0.0) for part in parts), 2) for stage in stages},
    )
    judgement = result.judgement
    if shots < 2 or judgement is None or judgement.rate is None:
        return best, result
    words = f"{judgement.stratum}{'; ' if judgement.stratum else ''}the highest of {shots} shots"
    return best, with_judgement(
        result, replace(judgement, rate=1 - (1 - judgement.rate) ** shots, count=None, stratum=words)
    )


def with_perturbed(result: Result, sampled: Sampled, scores: Mapping[str, Scores], setup: Setup) -> Result:
    """The result with the scores of the video's perturbed versions, if it has any."""
    if not scores or result.status != Status.OK:
        return result
    versions = []
    for name, version_scores in scores.items():
        label = combine(setup.members, version_scores).final.value
        if label is None:  # its networks gave no finite number
            versions.append(PerturbedResult(name, None, NOT_SCORED, None))
            continue
        conditions = sampled.perturbed[name].conditions
        judgement = setup.calibration.judge(label, conditions) if setup.calibration else None
        version_verdict = verdict(Status.OK, label, "", judgement).name
        versions.append(PerturbedResult(name, label, version_verdict, judgement.rate if judgement else None))
    words = describe_stability(result.label, result.verdict, versions)
    return replace(result, perturbed=tuple(versions), stability=words)


def describe_stability(label: float, verdict: str, versions: Sequence[PerturbedResult]) -> str:
    """A sentence on how far the score moves over the perturbed versions, and whether the verdict holds."""
    values = [label, *(version.label for version in versions if version.label is not None)]
    flips = [f"{version.name}: {version.verdict}" for version in versions if version.verdict != verdict]
    stands = "the verdict stays the same" if not flips else "the verdict changes: " + ", ".join(flips)
    copies = f"{len(versions)} perturbed version{'s' * (len(versions) != 1)}"
    return f"between {min(values):.2f} and {max(values):.2f} over the video and {copies}; {stands}"


def complete(result: Result, setup: Setup) -> Result:
    """The result with what belongs to the whole run: digest, version, and the members that were left out."""
    without = f"; without {', '.join(setup.left_out)}, which have no checkpoint" if setup.left_out else ""
    return replace(
        result,
        run=setup.digest,
        software=software(),
        left_out=setup.left_out,
        reason=result.reason + without,
        policy=setup.settings.policy,
    )
