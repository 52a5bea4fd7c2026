"""Tables that other people made, as CSV or JSON: read strictly, with the file and the line in every complaint."""

import csv
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from common.errors import BadInputError

Cells = dict[str, str]


def read_table(path: Path, needed: Collection[str] = (), errors: str = "surrogateescape") -> list[tuple[int, Cells]]:
    """The rows of a CSV in UTF-8, by column, each with the number of the line that it ends on.

    Raises BadInputError for a column of `needed` that is missing, two columns of one name, a row that lacks a cell, a
    quote that is never closed, or, if `errors` is "strict", text that is not UTF-8; OSError if it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig", errors=errors) as file:
            reader = csv.DictReader(file, strict=True)
            if missing := [column for column in needed if column not in (reader.fieldnames or ())]:
                has = f"it has {', '.join(reader.fieldnames)}" if reader.fieldnames else "it is empty"
                raise BadInputError(f"{path} has no column '{missing[0]}': {has}")
            names = [name for name in reader.fieldnames or () if name]
            if len(set(names)) < len(names):
                raise BadInputError(f"{path} has two columns '{max(names, key=names.count)}'")
            rows = []
            for cells in reader:
                if short := [column for column in needed if cells[column] is None]:
                    raise BadInputError(f"{path}:{reader.line_num}: the row ends before its {short[0]}")
                rows.append((reader.line_num, cells))
            return rows
    except csv.Error as error:
        raise BadInputError(f"{path}:{reader.line_num + 1}: not CSV, perhaps a quote is not closed: {error}") from error
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path} is not UTF-8: {error}") from error


def columns_of(path: Path) -> list[str]:
    """The columns of a CSV that `read_table` reads; none for an empty file."""
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        return next(csv.reader(file), [])


def by_filename(path: Path) -> dict[str, dict[str, Any]]:
    """What a table says about each file: a CSV with a column `filename`, or a JSON of objects by name.

    Raises BadInputError as `read_table` does, for another content, and for a name that comes twice.
    """
    if path.suffix.lower() == ".json":
        try:
            entries = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_without_repetition)
            return {name: dict(entry) for name, entry in entries.items()}
        except (BadInputError, ValueError, TypeError, AttributeError) as error:
            raise BadInputError(f"{path} is not a list of files by name: {error}") from error
    lines: dict[str, int] = {}
    files: dict[str, dict[str, Any]] = {}
    for number, cells in read_table(path, ["filename"]):
        name = cells["filename"]
        if name in files:
            raise BadInputError(f"{path}:{number}: {name} is also on line {lines[name]}")
        lines[name], files[name] = number, cells
    return files


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        names = [name for name, _ in pairs]
        raise BadInputError(f"{max(names, key=names.count)} comes twice")
    return entries
