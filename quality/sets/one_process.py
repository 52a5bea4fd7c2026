"""Rows made one after another in this process, remembered in a ledger so that a killed run goes on."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from common.status import Status
from common.workers import progress
from inference.ledger import FileState, Json, Ledger
from inference.rows import Row, write_submission


def make_rows(
    states: Mapping[str, FileState | None], make: Callable[[str], Row], output: Path, depends_on: Json
) -> dict[str, Row]:
    """The row that `make` gives for each name, written to `output` as inference.predict does.

    `states` tells of each name whether its files are still the same. A row that an earlier run made of the same files,
    depending on the same things, is not made again. Raises BadInputError for the ledger of a run of other things.
    """
    ledger = Ledger(output, depends_on)
    rows = {}
    with progress(total=len(states), desc="benchmark", unit="video") as bar:
        for name, state in states.items():
            known = ledger.result(name, state)
            rows[name] = make(name) if known is None else Row.from_json(known)
            if known is None:
                ledger.add(name, state, rows[name].to_json())
            if rows[name].status != Status.OK:
                bar.write(f"benchmark: {name}: {rows[name].reason}", file=sys.stderr)
            bar.update()
    write_submission(output, rows.values())
    ledger.close()
    return rows
