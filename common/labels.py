"""REAL and FAKE, as the contest writes them and as the networks number them."""

from pathlib import Path

from common.errors import BadInputError

LABELS = {"REAL": 0, "FAKE": 1}


def parse_label(text: object) -> int:
    """0 for REAL or 0, 1 for FAKE or 1, as text in any case, or as a number. Raises BadInputError for anything else."""
    word = str(text).strip().upper().removesuffix(".0")
    known = LABELS | {str(label): label for label in LABELS.values()}
    if not isinstance(text, str | int | float) or isinstance(text, bool) or word not in known:
        raise BadInputError(f"label is {text!r}, not one of {', '.join(known)}")
    return known[word]


def label_of(path: Path, name: str, label: object) -> int:
    """The label of a file in the table at `path`, by `parse_label`. Raises BadInputError, which names both."""
    try:
        return parse_label(label)
    except BadInputError as error:
        raise BadInputError(f"{path}: {name}: {error}") from error
