"""Results made one after another in this process, remembered in a ledger so that a killed run goes on."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from common.files import FileState
from common.status import Status
from common.workers import progress
from inference.results import Result, write_submission
from inference.run import Json, Ledger


def make_results(
    states: Mapping[str, FileState | None], make: Callable[[str], Result], output: Path, depends_on: Json
) -> dict[str, Result]:
    """The result that `make` gives for each name, written to `output` as inference.predict does.

    `states` tells of each name whether its files are still the same. A result that an earlier run made of the same
    files, depending on the same things, is not made again. Raises BadInputError for the ledger of another run.
    """
    ledger = Ledger(output, depends_on)
    results = {}
    with progress(total=len(states), desc="benchmark", unit="video") as bar:
        for name, state in states.items():
            known = ledger.result(name, state)
            results[name] = make(name) if known is None else Result.from_row(known)
            if known is None:
                ledger.add(name, state, results[name].to_row())
            if results[name].status != Status.OK:
                bar.write(f"benchmark: {name}: {results[name].reason}", file=sys.stderr)
            bar.update()
    write_submission(output, results.values())
    ledger.close()
    return results
