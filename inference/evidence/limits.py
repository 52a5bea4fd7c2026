"""What a score does not take into account, in sentences for the JSON and the page of the evidence."""

from collections.abc import Mapping

from common.status import Status
from inference.members import Member
from inference.results import Result
from inference.sampling.sampled import Sampled

BEYOND_FACES = "The sound, the background and everything else outside the face crops were not examined."
SCALED_UP = "The weights of the other members were scaled up."
LATE_START = 0.1  # seconds: a shorter delay of the picture is not worth a sentence


def not_analysed(result: Result, sampled: Sampled, members: Mapping[str, Member]) -> list[str]:
    """Sentences about what the score does not take into account."""
    if sampled.info.still:
        return [
            *limits_of_still(result, sampled, members),
            *undecided(sampled),
            *members_left_out(result),
            BEYOND_FACES,
        ]
    return [
        *frames_left_out(result, sampled),
        *faces_left_out(result, sampled, members),
        *undecided(sampled),
        *stand_ins(result, sampled),
        BEYOND_FACES,
    ]


def frames_left_out(result: Result, sampled: Sampled) -> list[str]:
    """Sentences about frames of a video that were not examined, or show no face."""
    sentences = []
    shown = sampled.total
    if sampled.shot and sampled.shot.of > 1:
        shown = sampled.shot.last - sampled.shot.first + 1
        sentences.append(f"This evidence is about shot {sampled.shot.number} of {sampled.shot.of}.")
        if len(result.shots) < sampled.shot.of:
            sentences.append(f"Only the {len(result.shots)} longest shots were scored.")
    if sampled.interval > 1:
        sentences.append(f"{sampled.frames} of {shown} frames were examined, one in {sampled.interval}.")
    if not sampled.interval:
        sentences.append(
            f"This is a screening: {sampled.frames} of {shown} frames were examined, in groups of five consecutive "
            "ones. A swap that only the others show was not looked for. The score must not be compared with one that "
            "was made without --screen."
        )
    if sampled.face_frames < sampled.frames:
        sentences.append(f"{sampled.face_frames} of {sampled.frames} frames show a face.")
    if sampled.timing.starts >= LATE_START:
        sentences.append(f"The picture starts {sampled.timing.starts:.2f} s after playback does.")
    return sentences


def faces_left_out(result: Result, sampled: Sampled, members: Mapping[str, Member]) -> list[str]:
    """Sentences about frames and faces of a video that the networks do not see."""
    voted = f"{sampled.voted_frames} of {sampled.frames}"
    if not sampled.faces:
        return [f"{voted} frames show no face, so no network looked at the video."]
    if result.status != Status.OK:
        return ["No face was scored."]
    sentences = []
    if any(member.branch == "image" for member in members.values()):
        seen = len(sampled.frames_seen("image"))
        sentences.append(f"The image members see {seen} of the {sampled.frames} frames, in groups of five.")
    if sampled.voted_faces > len(sampled.faces) or sampled.other_detections:
        shown = counted(sampled.voted_faces, "face")
        most = f"Most frames ({voted}) show {shown}"
        if 2 * sampled.voted_frames <= sampled.frames:
            most = f"{voted} frames show {shown}, and no other number of faces is shown more often"
        kept = len(sampled.faces)
        scored = "the face seen longest was scored" if kept == 1 else f"the {kept} faces seen longest were scored"
        sentences.append(f"{most}; {scored}.")
        sentences += others(sampled)
    return sentences


def stand_ins(result: Result, sampled: Sampled) -> list[str]:
    """Sentences about faces, frames and members that were missing in a video, and what was used instead."""
    sentences = []
    for number, face in enumerate(sampled.faces, start=1):
        if absent := (sampled.frames if face.frames is None else len(face.frames)) - len(face.track):
            sentences.append(
                f"Face {number} was not detected in {absent} of the frames; its nearest detection was used there."
            )
    sentences += [f"{loss[:1].upper()}{loss[1:]}." for loss in sampled.losses]
    return [*sentences, *members_left_out(result)]


def members_left_out(result: Result) -> list[str]:
    """Sentences about members that gave no score, if there are any."""
    sentences = []
    if result.not_finite:
        names = ", ".join(result.not_finite)
        sentences.append(f"These members gave no finite number and were left out: {names}. {SCALED_UP}")
    if result.left_out:
        names = ", ".join(result.left_out)
        sentences.append(f"These members have no checkpoint and were left out: {names}. {SCALED_UP}")
    return sentences


def undecided(sampled: Sampled) -> list[str]:
    """The sentence about faces that the label does not depend on, if there are any."""
    deciding = sum(face.decides for face in sampled.faces)
    if deciding == len(sampled.faces):
        return []
    return [f"The label depends on {deciding} of {len(sampled.faces)} scored faces: those seen longest."]


def others(sampled: Sampled) -> list[str]:
    """The sentence about detections that belong to no scored face, if there are any."""
    if not sampled.other_detections:
        return []
    return [f"{sampled.other_detections} of {sampled.detections} detections were not scored."]


def counted(number: int, noun: str) -> str:
    """A number of things, such as `1 face` or `2 faces`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def limits_of_still(result: Result, sampled: Sampled, members: Mapping[str, Member]) -> list[str]:
    """Sentences about what the score of a still image does not take into account."""
    alone = "This is a still image: its only frame is scored alone, and nothing can be seen over time."
    if (pictures := sampled.info.pictures) > 1:
        alone = f"The file holds {pictures} pictures: only the first was examined, and nothing can be seen over time."
    sentences = [alone]
    if names := [name for name, member in members.items() if member.branch == "video"]:
        sentences.append(f"The video members ({', '.join(names)}) do not score still images.")
    if result.status == Status.OK:
        sentences += others(sampled)
    if not sampled.faces:
        sentences.append("It shows no face, so no network looked at it.")
    return sentences
