"""REAL and FAKE, as the contest writes them and as the networks number them."""

from common.errors import BadInputError

LABELS = {"REAL": 0, "FAKE": 1}


def parse_label(text: object) -> int:
    """0 for "REAL" or "0", 1 for "FAKE" or "1". Raises BadInputError for anything else."""
    known = LABELS | {str(label): label for label in LABELS.values()}
    if not isinstance(text, str) or text not in known:
        raise BadInputError(f"label is {text!r}, not one of {', '.join(known)}")
    return known[text]
