"""Scores as they travel between tools: three kinds of CSV, told apart by their columns.

filename,label                                  Kaggle's, and this project's submission.csv; label = P(FAKE)
dataset,key,compression,label,score,status      this project's scores.csv: no video is dropped; label 1 = FAKE
files,labels,prob_class_0,prob_class_1          GenD's: prob_class_1 = P(FAKE)
"""

import csv
import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from common.errors import BadInputError
from common.files import write_table

KINDS = {"label": ("filename", "label"), "score": ("key", "score"), "prob_class_1": ("files", "prob_class_1")}


@dataclass(frozen=True)
class Scored:
    """A row of scores.csv. `score` is None where there is none; `status` says why."""

    dataset: str
    key: str
    compression: str
    label: int  # 1 FAKE
    score: float | None
    status: str


def write_scored(path: Path, rows: Iterable[Scored]) -> None:
    """Write scores.csv, atomically; a missing score is an empty cell."""
    cells = [["" if value is None else value for value in astuple(row)] for row in rows]
    write_table(path, [tuple(field.name for field in fields(Scored)), *cells])


def write_gend(path: Path, rows: Iterable[Scored]) -> None:
    """Write GenD's columns; they have no place for a missing score, so .5 stands for one."""
    scores = [(row, 0.5 if row.score is None else row.score) for row in rows]
    head = ("files", "labels", "prob_class_0", "prob_class_1")
    write_table(path, [head, *((row.key, row.label, f"{1 - score:.8f}", f"{score:.8f}") for row, score in scores)])


def read_score_file(path: Path) -> dict[str, float | None]:
    """The scores of any of the three kinds by name; None where a row has none.

    Raises BadInputError for other columns, a name that stands there twice, or a score outside [0, 1].
    """
    scores: dict[str, float | None] = {}
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        rows = csv.DictReader(file)
        columns = set(rows.fieldnames or ())
        # `label` is the truth where there is also a score.
        kind = next((name for name in reversed(KINDS) if {*KINDS[name]} <= columns), None)
        if kind is None:
            known = "; ".join(",".join(pair) for pair in KINDS.values())
            raise BadInputError(f"{path} has the columns {','.join(columns) or 'none'}, not one of: {known}")
        name_column, score_column = KINDS[kind]
        for number, row in enumerate(rows, start=2):
            name, text = row[name_column], row[score_column]
            try:
                score = None if text == "" and kind == "score" else float(text)
            except (TypeError, ValueError) as error:
                raise BadInputError(f"{path}:{number}: {name_column},{score_column} is {name},{text}") from error
            if name in scores or (score is not None and not (math.isfinite(score) and 0 <= score <= 1)):
                raise BadInputError(f"{path}:{number}: {name} stands there twice or has no score in [0, 1]: {text}")
            scores[name] = score
    return scores
