"""Score files of three kinds, told apart by their columns, and the truth that goes with them.

filename,label                                  Kaggle's, and this project's submission.csv; label = P(FAKE)
dataset,key,compression,label,score,status      this project's scores.csv: no video is left out; label 1 = FAKE
files,labels,prob_class_0,prob_class_1          GenD's: prob_class_1 = P(FAKE)

The truth is a metadata.json of DFDC, or a CSV filename,label[,original][,subset].
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import BadInputError
from common.files import file_beside, write_table, write_text
from common.labels import label_of
from common.tables import by_filename, columns_of, read_table
from inference.results import read_rows
from inference.scoring import NO_SCORE

# The columns of name and score, by the column that tells the kinds apart.
KINDS = {"label": ("filename", "label"), "score": ("key", "score"), "prob_class_1": ("files", "prob_class_1")}


@dataclass(frozen=True)
class ScoreRow:
    """A row of scores.csv. Where there is no score, `score` is None and `status` says why."""

    dataset: str
    key: str
    compression: str
    label: int  # 1 FAKE
    score: float | None  # in [0, 1]
    status: str


def write_scores(path: Path, rows: Iterable[ScoreRow]) -> None:
    """Write scores.csv, atomically; a missing score is an empty cell."""
    cells = [["" if value is None else value for value in astuple(row)] for row in rows]
    write_table(path, [tuple(field.name for field in fields(ScoreRow)), *cells])


def write_gend_scores(path: Path, rows: Iterable[ScoreRow]) -> None:
    """Write GenD's columns; they have no place for a missing score, so 0.5 stands for it."""
    scores = [(row, NO_SCORE if row.score is None else row.score) for row in rows]
    head = ("files", "labels", "prob_class_0", "prob_class_1")
    write_table(path, [head, *((row.key, row.label, f"{1 - score:.8f}", f"{score:.8f}") for row, score in scores)])


def read_score_file(path: Path) -> dict[str, float | None]:
    """The scores of a file of any kind, in [0, 1], by name; None where a row has no score.

    Raises BadInputError for other columns, a name that comes twice, or a score outside [0, 1].
    """
    scores: dict[str, float | None] = {}
    rows, columns = read_table(path), set(columns_of(path))
    # `label` is the truth where there is also a score.
    kind = next((name for name in reversed(KINDS) if {*KINDS[name]} <= columns), None)
    if kind is None:
        known = "; ".join(",".join(pair) for pair in KINDS.values())
        raise BadInputError(f"{path} has the columns {','.join(columns) or 'none'}, not one of: {known}")
    name_column, score_column = KINDS[kind]
    for number, row in rows:
        name, text = row[name_column], row[score_column]
        try:
            score = None if text == "" and kind == "score" else float(text)
        except (TypeError, ValueError) as error:
            raise BadInputError(f"{path}:{number}: {name_column},{score_column} is {name},{text}") from error
        if name in scores or (score is not None and not (math.isfinite(score) and 0 <= score <= 1)):
            raise BadInputError(f"{path}:{number}: {name} comes twice or has no score in [0, 1]: {text}")
        scores[name] = score
    return scores


def read_scores(path: Path) -> dict[str, float]:
    """As `read_score_file`, with 0.5 for a video without a score."""
    return {name: NO_SCORE if score is None else score for name, score in read_score_file(path).items()}


class Truth(NamedTuple):
    """The truth about a video: label (1 FAKE), the name of its original (a real video's own), a subset or "".

    `columns` holds the other columns of its row.
    """

    label: int
    original: str
    subset: str
    columns: dict[str, str]


def read_truth(path: Path) -> dict[str, Truth]:
    """The truth about each video, by file name. Raises BadInputError, which names the video, for a malformed file."""
    try:
        return {name: read_truth_row(path, name, row) for name, row in by_filename(path).items()}
    except BadInputError as error:
        raise BadInputError(f"{error}; each video needs a filename and a label (REAL, FAKE, 0 or 1)") from error


def read_truth_row(path: Path, name: str, row: Mapping[str, Any]) -> Truth:
    """The truth in a row of the file at `path`. Raises BadInputError for an unknown label."""
    others = {key: value for key, value in row.items() if key not in ("filename", "label", "original", "subset")}
    return Truth(label_of(path, name, row.get("label")), row.get("original") or name, row.get("subset") or "", others)


def write_json(path: Path, content: object) -> None:
    """Write JSON, atomically. NaN becomes null, which means not defined; a path becomes text."""
    write_text(path, json.dumps(without_nan(content), indent=1, default=str) + "\n")


def without_nan(value: object) -> object:
    """The value with None for NaN, because JSON has no NaN, and lists for tuples."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def has_rows(details: Path) -> bool:
    """Whether there is a file that begins with a row of inference.predict."""
    try:
        with details.open("rb") as lines:
            row = json.loads(lines.readline())
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(row, dict) and {"filename", "status"} <= row.keys()


def rows_beside(submission: Path) -> list[dict[str, Any]]:
    """The rows of the `.jsonl` beside a submission; none if there is no such file.

    Raises BadInputError for damaged rows of inference.predict.
    """
    details = file_beside(submission, ".jsonl")
    return read_rows(details) if has_rows(details) else []
