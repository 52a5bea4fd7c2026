"""Which videos of a submission to look at first: their order, and how many are under a false-discovery rate."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from common.errors import BadInputError
from common.status import Status


class Candidate(NamedTuple):
    """A video of a submission; `rate` is None where no false-positive rate is known."""

    filename: str
    label: float
    status: Status
    verdict: str
    rate: float | None


class Queue(NamedTuple):
    """All videos in order; the first `length` are in the queue, the first `discoveries` under the rate `fdr`."""

    videos: Sequence[Candidate]
    length: int
    discoveries: int
    fdr: float


def read_candidates(path: Path) -> list[Candidate]:
    """The videos of a submission. Raises BadInputError for another file."""
    found = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                label, rate = float(row["label"]), row.get("false_positive_rate")
                if not (0 <= label <= 1 and (rate is None or 0 <= float(rate) <= 1)):
                    raise ValueError(f"label {label} and rate {rate} must lie in [0, 1]")
                found.append(
                    Candidate(
                        str(row["filename"]),
                        label,
                        Status(row["status"]),
                        str(row.get("verdict", "")),
                        None if rate is None else float(rate),
                    )
                )
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BadInputError(f"{path}:{number} is no row of a submission: {error!r}") from error
    if not found:
        raise BadInputError(f"{path} holds no videos")
    return found


def in_order(videos: Sequence[Candidate]) -> list[Candidate]:
    """The rarest first, of equally rare ones the higher score; then those without a rate, and those without a score."""
    return sorted(
        videos,
        key=lambda one: (
            one.status != Status.OK,
            one.rate is None,
            one.rate if one.rate is not None else 0.0,
            -one.label,
            one.filename,
        ),
    )


def discoveries(rates: Sequence[float], fdr: float) -> int:
    """How many of the least rates are under a false-discovery rate; the rates rise (Benjamini and Hochberg, 1995)."""
    under = [place for place, rate in enumerate(rates, start=1) if rate <= fdr * place / len(rates)]
    return max(under, default=0)


def queue_of(videos: Sequence[Candidate], fdr: float, hours: float | None, minutes: float) -> Queue:
    """The queue of videos: those under the rate, or as many as there is time for at so many minutes each."""
    ordered = in_order(videos)
    scored = [one for one in ordered if one.status == Status.OK]
    found = discoveries([one.rate for one in scored if one.rate is not None], fdr)
    time_for = found if hours is None else min(int(60 * hours / minutes), len(scored))
    return Queue(ordered, time_for, found, fdr)
