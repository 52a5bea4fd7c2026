"""Videos in, submission out: what `inference.predict` and `quality.robustness` run.

A scorer makes each video's result. A run remembers the rows in a ledger, so that it can go on after a kill. It writes
the evidence of each video as it finishes and, when all videos are done, the submission.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from common.errors import BadInputError
from faces.detector import load_detector
from faces.masks import NOTHING, Known
from inference.evidence.pages import evidence_file, write_index
from inference.ledger import FileState, Ledger, state_of
from inference.plan import Plan
from inference.rows import Row, write_submission, write_verdicts
from inference.scorer import Scorer, Video


@dataclass(frozen=True)
class Output:
    """Where the rows of a run go."""

    submission: Path = Path("submission.csv")
    evidence: Path | None = None  # folder of the pages
    is_shard: bool = False  # the rows are those of one shard, for inference.merge


def state_with(path: Path, about: Known) -> FileState | None:
    """The state of a video's file, and of its mask if it has one."""
    state, mask = state_of(path), state_of(about.mask) if about.mask else None
    return [*state, *mask[1:]] if state and mask else state


class Run:
    """One scoring of videos.

    `scored` counts the videos that the ledger did not know. `seconds` adds up where their time went: the seconds of a
    core by stage, and the seconds of each network.
    """

    def __init__(self, plan: Plan, output: Output) -> None:
        """Raises BadInputError for a detector that does not load, or a ledger that was begun with other settings."""
        if output.submission.suffix == ".jsonl":
            hint = "the details go to the .jsonl beside it, so it must end otherwise, as .csv"
            raise BadInputError(f"--output {output.submission}: {hint}")
        self.plan, self.output = plan, output
        self.scored = 0
        self.seconds: dict[str, float] = {}
        self.ledger = Ledger(output.submission, plan.depends_on | {"evidence": str(output.evidence)})
        load_detector(plan.weights, "cpu")  # a bad weights file gives one line, before anything else is said
        if output.is_shard:  # merge would take an older file for this run's
            output.submission.with_suffix(".jsonl").unlink(missing_ok=True)

    def rows(self, videos: Mapping[str, Path], known_of: Mapping[str, Known] | None = None) -> Iterator[Row]:
        """Yield the row of each video: first the rows that the ledger knows, then the others as they finish.

        `known_of` holds what is known of the faces of some videos. Videos whose boxes others take over come first.
        """
        todo: list[Video] = []
        states: dict[str, FileState | None] = {}
        for name, path in videos.items():
            about = (known_of or {}).get(name, NOTHING)
            states[name] = state_with(path, about)  # the state before it is read: the file may still grow
            known = self.ledger.result(name, states[name])
            if known is not None and self._has_evidence(name) and (not about.keep_boxes or about.keep_boxes.is_file()):
                yield Row.from_json(known)
            else:
                todo.append(Video(name, path, about))
        if not todo:
            return
        groups = [[one for one in todo if bool(one.known.keep_boxes) == keeps] for keeps in (True, False)]
        with Scorer.of(self.plan) as scorer:
            for result in chain.from_iterable(scorer.score_videos(group) for group in groups if group):
                if self.output.evidence:
                    result.save_evidence(self.output.evidence)
                self.ledger.add(result.filename, states[result.filename], result.row.to_json())
                self.scored += 1
                self._spend(result.row.seconds)
                yield result.row
            self._spend(scorer.seconds)

    def _has_evidence(self, name: str) -> bool:
        """Whether a video's evidence is on disk, or not wanted."""
        folder = self.output.evidence
        return folder is None or evidence_file(folder, name, ".json").is_file()

    def _spend(self, seconds: Mapping[str, float]) -> None:
        for stage, spent in seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def write(self, rows: Iterable[Row]) -> None:
        """Write the submission; if this is not a shard, also the evidence's index, and remove the ledger."""
        rows, output = list(rows), self.output
        write_submission(output.submission, rows)
        if output.is_shard:
            return
        write_verdicts(output.submission, rows)
        if output.evidence:
            write_index(output.evidence, [row.filename for row in rows])
        self.ledger.close()
