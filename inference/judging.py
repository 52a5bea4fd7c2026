"""From a scored row to a judged one: what its label means and is called, alone, of many shots, and in other forms."""

from collections.abc import Mapping
from dataclasses import replace

from common.status import Status
from inference.calibration import Calibration, Judgement
from inference.plan import Plan
from inference.rows import Row, combine
from inference.sampling.perturbed import FormRow, said_of
from inference.sampling.sampled import Sampled
from inference.scoring import Score
from inference.verdicts import NOT_SCORED, verdict


def with_judgement(row: Row, judgement: Judgement | None) -> Row:
    """The row with what a calibration says of its label, and with what the label is then called."""
    return replace(
        row,
        verdict=verdict(row.status, row.label, row.reason, judgement).name,
        judgement=judgement,
        false_positive_rate=judgement.rate if judgement else None,
    )


def judged(row: Row, calibration: Calibration | None) -> Row:
    """Add to a row, and to its shot, what the score means and is called."""
    judgement = calibration.judge(row.label, row.conditions) if calibration and row.status == Status.OK else None
    told = with_judgement(row, judgement)
    return replace(told, shots=tuple(replace(shot, verdict=told.verdict) for shot in row.shots))


def of_many(row: Row) -> Row:
    """The row of a video whose label is the highest of several shots'.

    The more shots, the higher a real video's highest score. So the rate of one shot becomes 1 - (1 - rate) ** shots, as
    if they were independent. They are not, which is in favour of the video.
    """
    shots = sum(shot.status == Status.OK for shot in row.shots)
    if shots < 2 or row.judgement is None or row.judgement.rate is None:
        return row
    rate = 1 - (1 - row.judgement.rate) ** shots
    words = f"{row.judgement.stratum}{'; ' if row.judgement.stratum else ''}the highest of {shots} shots"
    return with_judgement(row, replace(row.judgement, rate=rate, stratum=words))


def with_forms(row: Row, sampled: Sampled, scores: Mapping[str, dict[str, Score]], plan: Plan) -> Row:
    """Add to a row how the video's other forms score, if it has any."""
    if not scores or row.status != Status.OK:
        return row
    forms, calibration = [], plan.calibration
    for name, members in scores.items():
        label = combine(plan.members, members).final.value
        if label is None:  # its networks gave no finite number
            forms.append(FormRow(name, None, NOT_SCORED, None))
            continue
        judgement = calibration.judge(label, sampled.forms[name].conditions) if calibration else None
        called = verdict(Status.OK, label, "", judgement).name
        forms.append(FormRow(name, label, called, judgement.rate if judgement else None))
    return replace(row, forms=tuple(forms), stability=said_of(row.label, row.verdict, forms))


def complete(row: Row, plan: Plan) -> Row:
    """Add to a row what the whole run knows: the digest, and the members that were left out."""
    without = f"; without {', '.join(plan.left_out)}, which have no checkpoint" if plan.left_out else ""
    return replace(row, run=plan.digest, left_out=plan.left_out, reason=row.reason + without)
