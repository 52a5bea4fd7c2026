"""Another detector in our harness: a Python file with `predict(path: str) -> float`, the probability of FAKE.

The file runs in this process, so run only files that you trust.
"""

import importlib.util
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import BadInputError
from common.files import file_state, sha256
from common.status import Status
from inference.conclude import unscored
from inference.results import Result
from inference.scoring import NO_SCORE
from quality.sets.one_process import make_results


@dataclass(frozen=True)
class Detector:
    """What scores, and the sha256 of its file."""

    predict: Callable[[str], float]
    digest: str


def load_detector(file: Path) -> Detector:
    """The detector of a file. Raises BadInputError if it does not load or has no `predict`, or FileNotFoundError."""
    digest = sha256(file)
    spec = importlib.util.spec_from_file_location("foreign_detector", file)
    if spec is None or spec.loader is None:
        raise BadInputError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look it up there
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (ImportError, SyntaxError) as error:
        raise BadInputError(f"{file} cannot be loaded: {error}") from error
    if not callable(getattr(module, "predict", None)):
        raise BadInputError(f"{file} has no function predict(path) -> float")
    return Detector(module.predict, digest)


def score_by(detector: Detector, paths: Mapping[str, Path], output: Path) -> dict[str, Result]:
    """A result for each video, written to `output` as inference.predict does.

    What the detector raises, or a number outside [0, 1], is a status, never a score of 0. If this is killed, it goes on
    when it is called again.
    """
    states = {name: file_state(path) for name, path in paths.items()}
    return make_results(
        states, lambda name: result_of(detector, name, paths[name]), output, {"detector": detector.digest}
    )


def result_of(detector: Detector, name: str, path: Path) -> Result:
    """A video's result."""
    label, status, reason = NO_SCORE, Status.CRASHED, ""
    if not path.is_file():
        status, reason = Status.MISSING, f"{path} is missing"
    else:
        try:
            score = float(detector.predict(str(path)))
        except Exception as error:  # whatever another's code raises costs this video only, and the row says it
            reason = f"the detector raised {type(error).__name__}: {error}"
        else:
            if math.isfinite(score) and 0 <= score <= 1:
                label, status, reason = score, Status.OK, "the detector's"
            else:
                status, reason = Status.NOT_FINITE, f"the detector gave {score}, which is not in [0, 1]"
    return replace(unscored(name, status, reason, 0, {}), label=label)
