"""An external detector in our benchmark: a Python file with `predict(path: str) -> float`, the probability of FAKE.

The file runs in this process, so run only files that you trust.
"""

import importlib.util
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import BadInputError
from common.files import FileState, file_state, sha256
from common.status import Status
from inference.conclude import unscored
from inference.results import Result
from inference.run import Json
from quality.sets.items import Item


@dataclass(frozen=True)
class ExternalDetector:
    """The function of a detector's file, and the file's sha256; a `quality.score_items.ItemScorer`."""

    predict: Callable[[str], float]
    file: Path
    digest: str

    @property
    def depends_on(self) -> Json:
        """What the scores depend on."""
        return {"detector": self.digest}

    @property
    def provenance(self) -> Json:
        """What benchmark.json says of it."""
        return {"detector": str(self.file), "sha256": self.digest}

    def state(self, item: Item, root: Path) -> FileState | None:
        """The state of the item's file; None if it does not exist."""
        return file_state(root / item.key)

    def score(self, item: Item, root: Path) -> Result:
        """The item's result.

        An exception of the detector, or a number outside [0, 1], becomes a status, never a score of 0.
        """
        path = root / item.key

        def without_score(status: Status, reason: str) -> Result:
            return unscored(item.key, status, reason, 0, {})

        if not path.is_file():
            return without_score(Status.MISSING, f"{path} is missing")
        try:
            score = float(self.predict(str(path)))
        except Exception as error:  # whatever foreign code raises costs only this video, and its row says so
            return without_score(Status.CRASHED, f"the detector raised {type(error).__name__}: {error}")
        if not (math.isfinite(score) and 0 <= score <= 1):
            return without_score(Status.NOT_FINITE, f"the detector gave {score}, which is not in [0, 1]")
        return replace(without_score(Status.OK, "the detector's"), label=score)


def load_detector(file: Path) -> ExternalDetector:
    """The detector in a file.

    Raises FileNotFoundError, or BadInputError if the file cannot be loaded or has no `predict`.
    """
    digest = sha256(file)
    spec = importlib.util.spec_from_file_location("external_detector", file)
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
    return ExternalDetector(module.predict, file, digest)
