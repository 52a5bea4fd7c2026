"""A case: for whom and why a file is examined. `inference.predict --case FILE.toml` puts it into the evidence.

number = "2026-117"
exhibit = "A-3, memory card"
question = "Was a face in clip.mp4 swapped?"
laboratory = "Lab 3"
examiner = "A. Example"
reviewer = "B. Example"
notes = "Received on 2026-11-28 from B."
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path

from common.errors import BadInputError

LONGEST = 20_000  # characters of a field


@dataclass(frozen=True)
class Case:
    """What an examiner says of a case; fields that are not given are empty."""

    number: str = ""
    exhibit: str = ""  # which item of the case the file is, or comes from
    question: str = ""
    laboratory: str = ""
    examiner: str = ""
    reviewer: str = ""  # who checked the examination
    notes: str = ""
    date: str = ""  # when the file was examined, with the offset from UTC


FIELDS = tuple(field.name for field in fields(Case) if field.name != "date")  # that an examiner fills in


def case_of(values: Mapping[str, object]) -> Case:
    """A case that is examined now. Raises BadInputError for unknown fields, and for values that are not text."""
    if unknown := sorted(values.keys() - set(FIELDS)):
        raise BadInputError(f"a case has no {', '.join(unknown)}: it has {', '.join(FIELDS)}")
    texts = {name: value for name, value in values.items() if isinstance(value, str) and len(value) <= LONGEST}
    if wrong := sorted(values.keys() - texts.keys()):
        raise BadInputError(f"{', '.join(wrong)} of a case must be text of at most {LONGEST:,} characters")
    return Case(**texts, date=datetime.now().astimezone().isoformat(timespec="seconds"))


def read_case(path: Path) -> Case:
    """Read a case from a TOML file. Raises BadInputError if the file does not hold one."""
    try:
        return case_of(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except (ValueError, BadInputError) as error:
        raise BadInputError(f"{path}: {error}") from error
