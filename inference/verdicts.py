"""What a score is called: by how many reals score as high or, where that is not known, by fixed bands of the score.

A rate says how rare such a score is among reals. It never says that a clip is real: a swap that the networks do not
notice scores as reals do. So a clip that scores like many reals is called uncertain.
"""

from typing import NamedTuple

from common.status import Status
from inference.calibration import Judgement


class Verdict(NamedTuple):
    """A limit (of the rate, at most; of the score, at least), what is called so, and what that means."""

    limit: float
    name: str
    meaning: str


NOT_SCORED = "not scored"
UNCERTAIN = "uncertain"
BY_RATE = (
    Verdict(0.01, "likely fake", "At most 1 real in 100 scores so high."),
    Verdict(0.05, "leans fake", "At most 5 reals in 100 score so high."),
    Verdict(0.2, "suspicious", "At most 20 reals in 100 score so high: look at the faces and the members below."),
    Verdict(
        1.0, UNCERTAIN, "More than 20 reals in 100 score so high: no sign of a face swap, and no proof of the contrary."
    ),
)
BY_SCORE = (
    Verdict(0.8, "likely fake", "The members that decide agree on signs of a face swap."),
    Verdict(0.6, "leans fake", "More signs of a face swap than against it, but members or faces disagree."),
    Verdict(0.4, "undecided", "The score says next to nothing: look at the faces and the members below."),
    Verdict(0.2, "leans real", "Fewer signs of a face swap than is usual in fakes, but members or faces disagree."),
    Verdict(0.0, "likely real", "The members that decide see no sign of the face swaps they were trained on."),
)
BANDS = "these members have no calibration: verdicts are by fixed bands of the score"


def verdict(status: Status, label: float, reason: str, judgement: Judgement | None) -> Verdict:
    """What a video's label is called; `judgement` is None if the members have no calibration.

    A video without a score is called `not scored`, one in conditions that the calibration does not know `uncertain`.
    """
    if status != Status.OK:
        return Verdict(0.0, NOT_SCORED, f"{reason}. The label .5 stands for no score.")
    if judgement is None:
        return next(verdict for verdict in BY_SCORE if label >= verdict.limit)
    if judgement.rate is None:
        return Verdict(
            1.0, UNCERTAIN, f"The calibration knows no real {judgement.unit} like this: {judgement.outside}."
        )
    return next(verdict for verdict in BY_RATE if judgement.rate <= verdict.limit)
