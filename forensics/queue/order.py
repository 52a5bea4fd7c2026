"""Which videos of a submission to look at first: their order, and how many are under a false-discovery rate."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import BadInputError
from common.status import Status
from inference.verdicts import REFERENCE


class Candidate(NamedTuple):
    """A video of a submission. `rate` is its false-positive rate, None where it is not known.

    `sha256` is that of the file if the submission was made with evidence.
    """

    filename: str
    label: float
    status: Status
    verdict: str
    rate: float | None
    sha256: str | None = None


class Queue(NamedTuple):
    """All videos in order. The first `length` are in the queue, the first `discoveries` under the rate `fdr`."""

    videos: Sequence[Candidate]
    length: int
    discoveries: int
    fdr: float


def read_candidates(path: Path) -> list[Candidate]:
    """The videos of a submission's `.jsonl`. Raises BadInputError if the file is not one, or is empty.

    It also raises it for screened videos beside others: their scores are not comparable.
    """
    candidates, policies = list[Candidate](), set[str]()
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = json.loads(line)
                candidates.append(candidate(row))
                policies.add(row.get("policy", REFERENCE))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BadInputError(f"{path}:{number} is not a row of a submission: {error!r}") from error
    if len(policies) > 1:
        raise BadInputError(f"{path} mixes scores of {' and '.join(sorted(policies))}, which have no common order")
    if not candidates:
        raise BadInputError(f"{path} holds no videos")
    return candidates


def candidate(row: Mapping[str, Any]) -> Candidate:
    """The video of a row. Raises ValueError, KeyError, TypeError or AttributeError if it is not a row."""
    label, rate = float(row["label"]), row.get("false_positive_rate")
    rate = None if rate is None else float(rate)
    if not (0 <= label <= 1 and (rate is None or 0 <= rate <= 1)):
        raise ValueError(f"label {label} and rate {rate} must lie in [0, 1]")
    verdict, sha256 = str(row.get("verdict", "")), row.get("sha256")
    return Candidate(str(row["filename"]), label, Status(row["status"]), verdict, rate, sha256)


def in_order(videos: Sequence[Candidate]) -> list[Candidate]:
    """The lowest rates first, equal ones by their score; then the videos without a rate, then those without a score."""
    return sorted(
        videos,
        key=lambda video: (
            video.status != Status.OK,
            video.rate is None,
            video.rate or 0.0,
            -video.label,
            video.filename,
        ),
    )


def count_discoveries(rates: Sequence[float], fdr: float) -> int:
    """How many of the rates, which must ascend, are under a false-discovery rate.

    This is the procedure of Benjamini and Hochberg (1995): of m rates, the first k, for the largest k at which the rate
    is at most fdr * k / m. scipy has it too, but is not in the small environment for scoring.
    """
    under = [place for place, rate in enumerate(rates, start=1) if rate <= fdr * place / len(rates)]
    return max(under, default=0)


def make_queue(videos: Sequence[Candidate], fdr: float, hours: float | None, minutes: float) -> Queue:
    """The queue of videos: those under the false-discovery rate or, with `hours`, as many as fit at `minutes` each."""
    ordered = in_order(videos)
    scored = [video for video in ordered if video.status == Status.OK]
    discoveries = count_discoveries([video.rate for video in scored if video.rate is not None], fdr)
    length = discoveries if hours is None else min(int(60 * hours / minutes), len(scored))
    return Queue(ordered, length, discoveries, fdr)
