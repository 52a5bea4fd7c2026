"""An external detector in our benchmark: a Python file with `predict(path: str) -> float`, the probability of FAKE.

The path is that of a video, or of the folder with a video's crops.

The file runs in a process of its own (quality/detector_process.py) with its own folder first on its path, so its
packages and ours may have the same names, and nothing that it does ends the benchmark. It may still do whatever a
program may do: run only files that you trust.
"""

import json
import math
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from common.errors import BadInputError
from common.files import ROOT, FileState, file_state, sha256
from common.status import Status
from inference.conclude import unscored
from inference.ledger import Json
from inference.results import Result
from quality.sets.items import Item

PROCESS = Path(__file__).with_name("detector_process.py")


@dataclass
class ExternalDetector:
    """The process of a detector's file, and the file's sha256; a `quality.score_items.ItemScorer`."""

    file: Path
    digest: str
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def depends_on(self) -> Json:
        """What the scores depend on."""
        return {"detector": self.digest}

    @property
    def provenance(self) -> Json:
        """What benchmark.json says of it."""
        return {"detector": str(self.file), "sha256": self.digest}

    def state(self, item: Item, root: Path) -> FileState | None:
        """The state of the item's file; None if it does not exist."""
        return file_state(path_of(item, root))

    def score(self, item: Item, root: Path) -> Result:
        """The item's result.

        An exception of the detector, or a number outside [0, 1], becomes a status, never a score of 0.
        """
        path = path_of(item, root)

        def without_score(status: Status, reason: str) -> Result:
            return unscored(item.key, status, reason, 0, {})

        if not path.exists():
            return without_score(Status.MISSING, f"{path} is missing")
        answer = self.ask(str(path.absolute()))
        if "score" not in answer:
            return without_score(Status.CRASHED, f"the detector {answer['error']}")
        score = answer["score"]
        if not (math.isfinite(score) and 0 <= score <= 1):
            return without_score(Status.NOT_FINITE, f"the detector gave {score}, which is not in [0, 1]")
        return replace(without_score(Status.OK, "the detector's"), label=score)

    def start(self) -> None:
        """Start the process. Raises BadInputError, with the reason, if the file cannot be loaded."""
        environment = dict(os.environ)
        folders = environment.pop("PYTHONPATH", "").split(os.pathsep)
        if others := [folder for folder in folders if folder and Path(folder).resolve() != ROOT]:
            environment["PYTHONPATH"] = os.pathsep.join(others)
        command = [sys.executable, "-P", str(PROCESS), str(self.file.absolute())]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        answer = self._answer()
        if "error" in answer:
            self.close()
            raise BadInputError(f"{self.file} {answer['error']}")

    def ask(self, path: str) -> Json:
        """What `predict` gives for a path: `score`, or `error` in words. A process that has ended is started again."""
        if self.process is None:
            self.start()
        assert self.process and self.process.stdin
        with suppress(BrokenPipeError):  # it has ended, which the missing answer tells
            self.process.stdin.write(json.dumps(path).encode() + b"\n")
            self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Json:
        """The process's next answer."""
        assert self.process and self.process.stdout
        line = self.process.stdout.readline()
        if line:
            answer: Json = json.loads(line)
            return answer
        status = self.process.wait()
        self.process = None
        return {"error": f"ended its process with status {status}"}

    def close(self) -> None:
        """End the process."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


def path_of(item: Item, root: Path) -> Path:
    """What the detector is asked about: the item's video, or the folder of its crops."""
    return (root / item.frames[0]).parent if item.frames else root / item.key


def load_detector(file: Path) -> ExternalDetector:
    """The detector in a file.

    Raises FileNotFoundError, or BadInputError if the file cannot be loaded or has no `predict`.
    """
    detector = ExternalDetector(file, sha256(file))
    detector.start()
    return detector
