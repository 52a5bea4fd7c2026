"""Videos with their truth and scores as arrays, and the pictures drawn of them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from common.files import atomic_file
from quality.measures import has_both


@dataclass(frozen=True)
class Videos:
    """Arrays of one length N; indexing by bool [N], or by int indices, gives the chosen videos."""

    names: np.ndarray  # str
    labels: np.ndarray  # int, 1 for FAKE
    scores: np.ndarray  # float in [0, 1]
    originals: np.ndarray  # str: the real video that a fake was made of; a real video's own name
    statuses: np.ndarray  # str, "" where it is unknown
    subsets: np.ndarray  # str: in a benchmark the manipulation, "" if there is none

    def __getitem__(self, chosen: np.ndarray) -> "Videos":
        return Videos(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def draw_roc(axes: Axes, curves: Mapping[str, Videos]) -> None:
    """Draw the ROC curve of some videos, or of several groups of them by name; one of a single class is left out."""
    for name, videos in curves.items():
        if has_both(videos.labels):
            axes.plot(*roc_curve(videos.labels, videos.scores)[:2], label=name)
    axes.plot((0, 1), (0, 1), ":", color="gray", label="chance")
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate", title="ROC")
    axes.legend(fontsize="small")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically, at 120 pixels per inch."""
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
