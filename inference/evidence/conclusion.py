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
    "The score is not the probability that the file is fake: that also depends on everything else that is known about "
    "it. It does not say who changed a file, when, how or why, and it says nothing about the sound, the background or "
    "other parts of the picture."
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
    scored = f"The faces that decide in this {kind} score {result.label:.2f}, from 0 (real) to 1 (fake)"
    if calibration is None or result.judgement is None:
        return [begin, f"{scored}.", NO_CALIBRATION, *([PHOTO] if still else []), DENIED]
    words = f'{scored}, which is called "{result.verdict}": {result.judgement.words}.'
    return [begin, words, ALLOWED[result.verdict], *missed(calibration), *([PHOTO] if still else []), DENIED]


def missed(calibration: Calibration) -> list[str]:
    """A sentence on how many known fakes are found and missed; none if the calibration does not know."""
    if (recall := calibration.recall) is None:
        return []
    return [
        f"A score that is not high says little: {1 - recall.share:.0%} of the known fakes in the calibration score "
        f"below {recall.threshold:.2f}, the limit that {recall.false_positives:.0%} of the real {calibration.unit} "
        "exceed."
    ]
