"""Videos in, submission out: the run behind `inference.predict`, `quality.benchmark` and `quality.robustness`.

A scorer makes each video's result. The run keeps the results in a ledger (inference.ledger), so that it can go on after
a kill. It writes the evidence of each video as soon as that is done, and the submission when all videos are done.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from common.errors import BadInputError
from common.files import FileState, file_beside
from common.lock import locked
from common.status import UNREADABLE, Status
from common.tables import read_table
from common.workers import progress
from faces.detector import load_detector
from inference.conclude import face_notes
from inference.ledger import Ledger, state_of
from inference.results import (
    Result,
    StoredResults,
    exit_status,
    label_text,
    printable,
    statuses,
    utf8_name,
    verdicts,
    write_submission,
    write_verdicts,
)
from inference.scorer import Progress, Scorer, Video, Watch
from inference.settings import Settings, Setup, resolve
from inference.verdicts import BANDS, REFERENCE

if TYPE_CHECKING:
    from inference.evidence.case import Case

NAMED = 10  # up to this many videos, each gets a line at the end
RUNTIME_NAMES = {"onnx": "ONNX Runtime", "torch": "PyTorch"}


@dataclass(frozen=True)
class Output:
    """Where the results of a run go."""

    submission: Path = Path("submission.csv")
    evidence: Path | None = None  # folder of the pages
    case: "Case | None" = None  # that the evidence is made for
    is_shard: bool = False  # one shard of the videos, for inference.merge
    keeps_earlier: bool = False  # rename an earlier submission that says other things
    keeps_ledger: bool = False  # leave it to the caller to remove the ledger


class Run:
    """One run over videos.

    `scored` counts the videos that were not in the ledger. `seconds` adds up where their time went: seconds of a core
    by stage, and seconds by network.
    """

    def __init__(self, setup: Setup, output: Output) -> None:
        """Raises BadInputError for a detector that does not load, or a ledger of a run with other settings.

        Also for an earlier submission that is to be kept but is not a table.
        """
        if output.submission.suffix == ".jsonl":
            hint = "the details go to the .jsonl beside it, so it must end otherwise, as .csv"
            raise BadInputError(f"--output {output.submission}: {hint}")
        self.setup, self.output = setup, output
        self.scored = 0
        self.seconds: dict[str, float] = {}
        self.ledger = Ledger(output.submission, setup.depends_on | {"evidence": str(output.evidence)})
        self.earlier = labels_in(output.submission) if output.keeps_earlier else {}
        load_detector(setup.detector_weights, "cpu")  # bad weights raise their error before anything is printed
        if output.is_shard:  # inference.merge would take an older file for one of this run, and remove the ledger
            file_beside(output.submission, ".jsonl").unlink(missing_ok=True)

    def results(self, videos: Iterable[Video], watch: Watch | None = None) -> Iterator[Result]:
        """Yield the result of each video: first those in the ledger, then the others as they finish.

        If only one is left, `watch` is called meanwhile, as by `Scorer.score`.
        """
        left: list[Video] = []
        states: dict[str, FileState | None] = {}
        for video in videos:
            states[video.name] = state_of(video)  # taken before the file is read, because it may still grow
            row = self.ledger.result(video.name, states[video.name])
            result = None if row is None else Result.from_row(row)
            if result and self._has_evidence(result):
                yield result
            else:
                left.append(video)
        if not left:
            return
        with Scorer(self.setup) as scorer:
            alone = watch is not None and len(left) == 1 and left[0].choose is None
            for result in [scorer.score(left[0].path, left[0].name, watch)] if alone else scorer.score_videos(left):
                if self.output.evidence:
                    result.save_evidence(self.output.evidence, self.output.case)
                self.ledger.add(result.filename, states.pop(result.filename), result.to_row())
                self.scored += 1
                self._spend(result.seconds)
                yield result
            self._spend(scorer.seconds)

    def _has_evidence(self, result: Result) -> bool:
        """Whether the evidence of a result is on disk or not wanted."""
        if self.output.evidence is None:
            return True
        from inference.evidence.pages import own_file

        return own_file(self.output.evidence, result.filename, ".json", result.sha256).is_file()

    def _stored(self, name: str) -> Result:
        return Result.from_row(self.ledger[name])

    def _spend(self, seconds: Mapping[str, float]) -> None:
        for stage, spent in seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def write(self, names: Sequence[str]) -> StoredResults:
        """Write the submission of these videos, which are all in the ledger, and return their results.

        Unless this is a shard, also write the index of the evidence and close the ledger.
        """
        output = self.output
        if self.earlier:
            now = {utf8_name(name): label_text(self._stored(name)) for name in names}
            if lost := sorted(self.earlier.items() - now.items()):
                others = sorted(self.earlier.keys() - now.keys())
                held = f"other videos, such as {others[0]}" if others else f"another score of {lost[0][0]}"
                set_aside(output.submission, held)
        results = write_submission(output.submission, map(self._stored, names))
        if output.is_shard:
            return results
        write_verdicts(output.submission, results.values())
        if output.evidence:
            from inference.evidence.pages import write_index

            write_index(output.evidence, results.values())
        if not output.keeps_ledger:
            self.ledger.close(set(names))
        return results


def labels_in(submission: Path) -> dict[str, str]:
    """The labels in a submission, by file name; none if there is no such file.

    Raises BadInputError if the file is not a table with these columns.
    """
    if not submission.is_file():
        return {}
    return {row["filename"]: row["label"] for _, row in read_table(submission, ["filename", "label"])}


def set_aside(submission: Path, held: str) -> None:
    """Rename a submission, with the files beside it, by its time, and say what it held."""
    time = datetime.fromtimestamp(submission.stat().st_mtime).strftime("%Y%m%d-%H%M%S")
    names = (f"{time}-{number}" if number else time for number in count())
    made = next(name for name in names if not file_beside(submission, f"-{name}.csv").exists())
    for suffix in (".jsonl", ".verdicts.csv", ".csv"):
        if (file := file_beside(submission, suffix)).is_file():
            file.rename(file_beside(submission, f"-{made}{suffix}"))
    kept = file_beside(submission, f"-{made}.csv")
    print(f"predict: {submission} held {held}: kept as {kept}", flush=True)


def score_videos(videos: Sequence[Video], settings: Settings, output: Output, more: str = "") -> StoredResults:
    """Score videos with a progress bar and write the submission; return the results, in the order of the videos.

    Also print where the time went, and a summary line that ends with `more`. Raises BadInputError for members, weights,
    an output or a ledger that cannot be used, or if another run writes to the same output.
    """
    path = output.submission
    with locked(path.with_name(f".{path.name}.lock"), f"{path} is being written already", remove=True):
        setup = resolve(settings)
        print(f"predict: scoring with {setup.sources}, by {RUNTIME_NAMES[setup.runtime]}", flush=True)
        run = Run(setup, output)
        if not setup.calibration:
            print(f"predict: {BANDS}", flush=True)
        alone = len(videos) == 1
        with progress(total=None if alone else len(videos), desc="predict", unit="frame" if alone else "video") as bar:

            def watch(now: Progress) -> None:
                bar.set_description(f"predict: {now.stage}", refresh=False)
                bar.total = now.of
                bar.update(now.done - bar.n)

            for result in run.results(videos, watch if alone else None):
                if remarks := remarks_on(result):
                    bar.write(f"predict: {printable(result.filename)}: {'; '.join(remarks)}", file=sys.stderr)
                bar.update(not alone)
        results = run.write([video.name for video in videos])
        print(table(run))
        if len(results) <= NAMED:
            print("".join(f"{describe(result, output.evidence)}\n" for result in results.values()))
        else:
            print(f"predict: verdicts: {verdicts(results.values())}")
        print(f"predict: {statuses(results.values())}; {output.submission}{more}")
        return results


def print_rows(videos: Sequence[Video], settings: Settings, output: Output, more: str) -> int:
    """As `score_videos`, but print the rows of submission.jsonl, and everything else on stderr; write no submission.

    Return the exit status.
    """
    with TemporaryDirectory(prefix="predict-") as folder:
        with redirect_stdout(sys.stderr):
            results = score_videos(videos, settings, replace(output, submission=Path(folder) / "rows.csv"), more)
        for result in results.values():
            print(json.dumps(result.to_row()))
        return exit_status(results.values())


def remarks_on(result: Result) -> list[str]:
    """What a person should be told about a video right away; empty for most videos."""
    remarks = [f"{result.status}: {result.reason}"] if result.status in UNREADABLE else []
    few_faces = 0 < 2 * result.face_frames <= result.frames
    notes_on_the_file = len(result.notes) > len(face_notes(result))
    if notes_on_the_file or few_faces or 4 * result.not_scored > result.detections:
        remarks += result.notes
    return remarks


def describe(result: Result, evidence: Path | None) -> str:
    """A line with a video's score, its verdict, and the path of its page."""
    scored = result.status == Status.OK
    text = f"{result.label:.3f}, {result.verdict}" if scored else f"{result.verdict}, {result.status}"
    if result.policy != REFERENCE:
        text += f", by {result.policy}"
    if result.judgement:
        text += f" ({result.judgement.words})"
    if result.stability:
        text += f"; {result.stability}"
    if evidence:
        from inference.evidence.pages import own_file

        text += f"; {printable(str(own_file(evidence, result.filename, '.html', result.sha256)))}"
    return f"{printable(result.filename)}: {text}"


def table(run: Run) -> str:
    """A table of the seconds that a run spent, by stage."""
    lines = [
        f"{stage:<16}{seconds:>9.1f} s{seconds / max(run.scored, 1):>10.2f} s per video"
        for stage, seconds in run.seconds.items()
    ]
    return "\n".join(["", *lines, ""])
