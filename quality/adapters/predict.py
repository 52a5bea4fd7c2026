"""`predict(path) -> float`, the form in which many harnesses take a detector, ours among them (`--detector`).

The default members score, on all cores. Their networks load at the first call and stay loaded.
"""

import atexit
from functools import cache
from pathlib import Path

from common.errors import BadInputError
from common.status import Status
from faces.detector import default_weights
from inference import Scorer
from inference.members import MODELS

ROOT = Path(__file__).parents[2]


def detector_weights() -> Path | None:
    """The face detector's weights in this repository; None lets the scorer fetch them."""
    try:
        return default_weights(ROOT / "inference/face_detect_ckpt")
    except FileNotFoundError:
        return None


@cache
def scorer() -> Scorer:
    """This process's scorer."""
    made = Scorer(models=ROOT / MODELS, detector_weights=detector_weights(), evidence=False)
    atexit.register(made.close)
    return made


def predict(path: str) -> float:
    """The probability of FAKE, in [0, 1], of a video or image. Raises BadInputError, with the reason, without one."""
    result = scorer().score(path)
    if result.status != Status.OK:
        raise BadInputError(f"{path}: {result.status}: {result.reason}")
    return result.label
