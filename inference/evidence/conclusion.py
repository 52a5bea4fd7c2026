"""What the score of a file lets an examiner conclude, and what not: sentences to copy into a report.

They follow from the verdict, the calibration, and what the file is. No sentence says that a file is real or fake.
"""

from common.status import Status
from common.version import NAME, software
from inference.results import Result
from inference.verdicts import SCREEN, UNCERTAIN, Calibration

KINDS = "a swap or re-enactment by a method like those that the networks learned"
ALLOWED = {
    "likely fake": f"This supports that a face was manipulated: {KINDS}.",
    "leans fake": f"This is a weak sign that a face was manipulated: {KINDS}.",
    "suspicious": "By itself this supports no conclusion. It is a reason to examine the file by other means.",
    UNCERTAIN: "This supports no conclusion, neither that a face was manipulated nor that none was.",
}
NO_CALIBRATION = (
    "It is not known how often real files score as high with these networks, so the score alone supports no conclusion."
)
PHOTO = (
    "The networks learned faces from videos. Photos have finer detail and other compression, and how often retouching, "
    "beauty filters or portrait modes mislead the networks was not measured."
)
DENIED = (
    "The score is what the networks estimate where half of all faces are swapped, in the ways that they learned. It is "
    'not the probability that this file is fake, and names such as "likely fake" say how rare the score is among real '
    "faces. How likely it is that the file is fake also depends on how common fakes are among such files, and on "
    "everything else that is known about it. The score does not say who changed a file, when, how or why, and nothing "
    "about the sound, the background or other parts of the picture."
)
SCREENED = (
    " It was screened: only a few frames were looked at, to see which files deserve a full examination. What they do "
    "not show was not examined."
)


def conclusion(result: Result, sha256: str | None, still: bool, calibration: Calibration | None) -> list[str]:
    """The conclusion from a result, sentence by sentence; `sha256` is the file's, None if it cannot be read."""
    kind, digest = "photo" if still else "video", f"SHA-256 {sha256}" if sha256 else "which could not be read"
    begin = f'The file {result.filename} ({digest}) was examined with the software "{NAME}", version {software()}.'
    begin += SCREENED if result.policy == SCREEN else ""
    if result.status != Status.OK:
        return [begin, f"It got no score ({result.status}: {result.reason}), which supports no conclusion."]
    deciding = sum(face.decides for face in result.faces)
    who = (
        f"The {deciding} faces that decide in this {kind} have"
        if deciding > 1
        else f"The face that decides in this {kind} has"
    )
    scored = f"{who} a score of {result.label:.2f}, on a scale from 0 (real) to 1 (fake)"
    photo = [PHOTO] if still else []
    if calibration is None or result.judgement is None:
        return [begin, f"{scored}.", *voices(result), NO_CALIBRATION, *photo, DENIED]
    words = f'{scored}, which is called "{result.verdict}": {result.judgement.words}.'
    known = [*missed(result, calibration), *calibration.limits]
    return [begin, words, *voices(result), ALLOWED[result.verdict], *known, *photo, DENIED]


def voices(result: Result) -> list[str]:
    """A sentence on the members' lowest and highest score, or on the only member that has one."""
    scores = {name: score for name, score in result.members.items() if score is not None}
    if len(scores) < 2:
        return [f"One network scored it: {name}." for name in scores]
    low, high = min(scores, key=lambda name: scores[name]), max(scores, key=lambda name: scores[name])
    return [f"Its {len(scores)} networks give from {scores[low]:.2f} ({low}) to {scores[high]:.2f} ({high})."]


def missed(result: Result, calibration: Calibration) -> list[str]:
    """A sentence on how many known fakes score too low to be noticed; none if the calibration does not know."""
    stratum = calibration.stratum_of(result.conditions)
    recall, where = (
        (stratum.recall, "shown alike") if stratum and stratum.recall else (calibration.recall, "shown in any way")
    )
    if recall is None:
        return []
    return [
        f"A score that is not high says little: {1 - recall.share:.0%} of the known fakes in the calibration that are "
        f"{where} score below {recall.threshold:.2f}, the limit that {recall.false_positives:.0%} of such real "
        f"{calibration.unit} exceed."
    ]
