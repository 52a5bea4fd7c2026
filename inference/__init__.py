"""The ensemble: from a video to a score between 0 (real) and 1 (fake), and why.

`from inference import Scorer` is the way in from Python; see `inference.scorer`.
"""

import sys
from typing import TYPE_CHECKING, Any

from common import former_names

if TYPE_CHECKING:
    from inference.results import Result
    from inference.scorer import Scorer
    from inference.settings import Settings

if former_names.FORMER.keys() & set(sys.orig_argv):  # `python -m inference.serve`
    former_names.accept()

__all__ = ["Result", "Scorer", "Settings"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import what scores when it is asked for: other modules here are to start fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from inference import scorer

    return getattr(scorer, name)
