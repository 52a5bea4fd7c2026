"""Several files that came in one request: one job, whose parts are the jobs of its files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.files import write_text
from forensics.serve.job import UNFINISHED, Job, State

# The types of what `Batch.to_json` gives, by name.
BATCH_TYPES = {"id": str, "state": State, "finished": int, "of": int, "files": list[Job]}
ENDS = (State.DONE, State.FAILED, State.TOO_LONG, State.LOST, State.CANCELLED)


@dataclass(eq=False)
class Batch:
    """The jobs of the files, in the order in which they were sent. A deleted job leaves it."""

    id: str
    jobs: list[Job]

    @property
    def state(self) -> State:
        """Once all files are finished: done if any is, else the first of ENDS in which any ended."""
        states = {job.state for job in self.jobs}
        if not states & set(UNFINISHED):
            return next(state for state in ENDS if state in states)
        return State.WAITING if states == {State.WAITING} else State.RUNNING

    def to_json(self) -> dict[str, Any]:
        """The batch as the API gives it."""
        files = [job.to_json() for job in self.jobs]
        finished = sum(job.state not in UNFINISHED for job in self.jobs)
        return {"id": self.id, "state": self.state, "finished": finished, "of": len(files), "files": files}

    def path(self, folder: Path) -> Path:
        """Where a folder of results names its files."""
        return folder / f"{self.id}.batch"

    def save(self, folder: Path) -> None:
        """Write or remove that file."""
        if self.jobs:
            write_text(self.path(folder), json.dumps([job.id for job in self.jobs]))
        else:
            self.path(folder).unlink(missing_ok=True)
