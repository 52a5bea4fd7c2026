"""`predict(path) -> float`, the form in which many harnesses take a detector; ours does too (`--detector`).

The default members score, on all cores. Models load at the first call and stay loaded.
"""

import atexit
from functools import cache

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
    """The probability of FAKE, in [0, 1], of a video or picture. Raises BadInputError, with the reason, without one."""
    result = scorer().score(path)
    if result.status != Status.OK:
        raise BadInputError(f"{path}: {result.status}: {result.reason}")
    return result.label
