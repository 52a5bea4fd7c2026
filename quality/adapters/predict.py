"""`predict(path) -> float`, the form in which many harnesses take a detector, ours among them (`--detector`).

The default members score, on all cores. Their networks load at the first call and stay loaded.
"""

import atexit
import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a harness runs elsewhere

from common.errors import BadInputError
from common.status import Status
from inference import Scorer


@cache
def scorer() -> Scorer:
    """This process's scorer."""
    made = Scorer(evidence=False)
    atexit.register(made.close)
    return made


def predict(path: str) -> float:
    """The probability of FAKE, in [0, 1], of a video or image. Raises BadInputError, with the reason, without one."""
    result = scorer().score(path)
    if result.status != Status.OK:
        raise BadInputError(f"{path}: {result.status}: {result.reason}")
    return result.label
