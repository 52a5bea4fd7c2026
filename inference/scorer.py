"""Score videos and pictures from Python, with models that stay loaded.

    >>> from inference import Scorer
    >>> with Scorer() as scorer:
    ...     result = scorer.score("demo/clips/single_face.mp4")
    >>> result.status, result.verdict, len(result.faces)
    (<Status.OK: 'ok'>, 'likely real', 1)

A video goes through three steps: find its faces (worker processes), score them (the networks), conclude (a row, its
faces, its evidence). A bad video has a status, and raises nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Self

from common.device import keep_freed_memory
from common.errors import BadInputError
from common.stage import Workers, cores, patience
from common.status import Status
from faces.detector import load_detector
from faces.video import in_batches
from inference.calibration import Calibration, calibration_of
from inference.evidence import analyse, evidence_of
from inference.members import MODELS, crop_kinds
from inference.networks import VIDEOS_TOGETHER, Networks
from inference.pages import Document, document, verdict
from inference.plan import Plan, Settings, plan
from inference.rows import FaceRow, Row, combine, failed_row, highest_of, scored_row
from inference.runtimes import load_networks
from inference.sampled import Sampled, sample
from inference.scoring import Score
from inference.tally import Tally

SPARE = 2  # how many more videos than workers are at work or wait for the networks


class Cancelled(Exception):  # noqa: N818 - nothing went wrong
    """Raise it in `watch` to end the scoring of a video."""


class Progress(NamedTuple):
    """How far a video is: the stage `faces` counts sampled frames, the stage `networks` members.

    `of` is how many there are, None if that is not known yet.
    """

    stage: str
    done: int
    of: int | None


Watch = Callable[[Progress], None]


@dataclass(frozen=True)
class FaceResult(FaceRow):
    """A tracked face, with the times in seconds and the boxes (x1, y1, x2, y2) in pixels of its detections."""

    times: tuple[float, ...] = ()
    boxes: tuple[tuple[int, int, int, int], ...] = ()


@dataclass(frozen=True)
class Result:
    """What a video or a picture was found to be.

    Scores are probabilities of FAKE in [0, 1]. The label is .5 unless the status is ok. `false_positive_rate` is the
    share of real faces that score as high or higher (inference.calibration); None if it is not known.
    """

    path: Path
    row: Row
    faces: tuple[FaceResult, ...]  # the one seen longest first
    document: Document | None  # JSON and page of the evidence

    @property
    def filename(self) -> str:
        """The name under which it was scored."""
        return self.row.filename

    @property
    def label(self) -> float:
        """The probability that a face was swapped."""
        return self.row.label

    @property
    def verdict(self) -> str:
        """What the label is called, such as `likely fake`."""
        return verdict(self.row.status, self.row.label, self.row.reason).name

    @property
    def false_positive_rate(self) -> float | None:
        """The share of real faces that score as high or higher."""
        return self.row.false_positive_rate

    @property
    def status(self) -> Status:
        """Whether it was scored, or why not."""
        return self.row.status

    @property
    def reason(self) -> str:
        """The rule that made the label, or what went wrong."""
        return self.row.reason

    def to_json(self) -> dict[str, Any]:
        """The row of `submission.jsonl`, with the verdict and each face's times and boxes."""
        return self.row.to_json() | {"verdict": self.verdict, "each_face": [asdict(face) for face in self.faces]}

    def page(self) -> str:
        """The page of its evidence, as HTML. Raises BadInputError if no evidence was made."""
        return self._made().page

    def save_evidence(self, folder: Path | str) -> None:
        """Write the JSON and the page of its evidence. Raises BadInputError if no evidence was made."""
        self._made().write(Path(folder), self.filename)

    def _made(self) -> Document:
        if self.document is None:
            raise BadInputError(f"{self.filename} was scored without evidence")
        return self.document


class Video(NamedTuple):
    """A video to score: its name in the submission and its path."""

    name: str
    path: Path


class Found(NamedTuple):
    """A video with what was found in it, or in each of its shots, or with the error."""

    video: Video
    outcome: list[Sampled] | Exception


class Scored(NamedTuple):
    """A found video and each member's score of it, or of each of its shots; none if the video could not be read."""

    found: Found
    scores: list[dict[str, Score]]


class Scorer:
    """Scores videos and pictures. Its networks load in the background when it is made, and stay loaded.

    Use it as a context manager, or call `close`: it has worker processes. One thread at a time may call it.
    """

    def __init__(
        self,
        members: str | None = None,
        calibration: Path | None = None,
        runtime: str = "auto",
        *,
        models: Path = MODELS,
        weights: Path | None = None,
        device: str = "auto",
        precision: str = "fp32",
        workers: int = cores(),
        faces: int = Settings.faces,
        decide_by: int = Settings.decide_by,
        max_frames: int = Settings.max_frames,
        by_shots: bool = False,
        evidence: bool = True,
    ) -> None:
        """Choose what scores; the options are those of `inference.plan.Settings`.

        `calibration` is a file of false-positive rates; None means the one beside the checkpoints. Raises BadInputError
        for members, weights, or a calibration that cannot be used.
        """
        settings = Settings(
            models=models,
            members=members,
            weights=weights,
            runtime=runtime,
            device=device,
            precision=precision,
            workers=workers,
            max_frames=max_frames,
            faces=faces,
            decide_by=decide_by,
            by_shots=by_shots,
            evidence=evidence,
        )
        self._begin(plan(settings), calibration)

    @classmethod
    def of(cls, planned: Plan) -> Self:
        """A scorer by a plan."""
        scorer = cls.__new__(cls)
        scorer._begin(planned, None)
        return scorer

    def _begin(self, planned: Plan, calibration: Path | None) -> None:
        self.plan = planned
        self.calibration: Calibration | None = calibration_of(planned.members, planned.settings.models, calibration)
        load_detector(planned.weights, "cpu")  # a bad weights file gives one error here, not one for every video
        keep_freed_memory()
        self._workers: Workers | None = None
        self._beside = ThreadPoolExecutor(1)
        settings = planned.settings
        how = (planned.device, settings.precision, planned.runtime, settings.workers)
        self._loading = self._beside.submit(load_networks, planned.members, settings.models, *how)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(at_once=kind is not None)

    def close(self, at_once: bool = False) -> None:
        """End the worker processes, `at_once` those at work too."""
        if self._workers:
            self._workers.end(at_once)
            self._workers = None
        self._beside.shutdown(cancel_futures=True)

    @property
    def seconds(self) -> Mapping[str, float]:
        """How long each member took so far."""
        return self._loading.result().seconds

    def score(self, path: Path | str, name: str | None = None, watch: Watch | None = None) -> Result:
        """Score a video or a picture on all cores, under its file's name or another one.

        `watch` is called about twice a second; a Cancelled that it raises ends the worker and comes out here.
        """
        video = Video(name if name is not None else Path(path).name, Path(path))
        if watch is None:
            return next(self.score_videos([video]))
        with TemporaryDirectory(prefix="scorer-") as folder:
            tally = Tally(Path(folder) / "tally")

            def look() -> None:
                watch(Progress("faces", *tally.read()))

            def on_member(done: int) -> None:
                watch(Progress("networks", done, len(self.plan.members)))

            try:
                return next(self.score_videos([video], tally, look, on_member))
            except BaseException:
                self._stop()
                raise

    def score_many(self, paths: Iterable[Path | str]) -> Iterator[Result]:
        """Score videos and pictures, under their files' names; yield the results in the order in which they finish."""
        return self.score_videos([Video(Path(path).name, Path(path)) for path in paths])

    def score_videos(
        self,
        videos: list[Video],
        tally: Tally | None = None,
        on_tick: Callable[[], None] = lambda: None,
        on_member: Callable[[int], None] = lambda done: None,
    ) -> Iterator[Result]:
        """As `score_many`, under given names; names may come twice."""
        found = self._find(videos, tally, on_tick)
        for scored in score(found, self._loading, VIDEOS_TOGETHER[self.plan.device], on_member):
            yield conclude(scored, self.plan, self.calibration)

    def _find(self, videos: list[Video], tally: Tally | None, on_tick: Callable[[], None]) -> Iterator[Found]:
        settings = self.plan.settings
        processes = max(min(settings.workers, len(videos)), 1)
        if self._workers is None or self._workers.count != processes:
            if self._workers:
                self._workers.end()
            self._workers = Workers(processes)
        return find(videos, self.plan, self._workers, tally, on_tick)

    def _stop(self) -> None:
        """End the worker processes at once; the next video starts new ones."""
        if self._workers:
            self._workers.end(at_once=True)
            self._workers = None


def find(
    videos: list[Video],
    plan: Plan,
    workers: Workers,
    tally: Tally | None = None,
    on_tick: Callable[[], None] = lambda: None,
) -> Iterator[Found]:
    """Find the faces of videos in worker processes; yield them as they finish."""
    settings = plan.settings
    threads = max(settings.workers // workers.count, 1)
    how = partial(
        sample,
        kinds=crop_kinds(plan.members.values()),
        wanted=settings.max_frames,
        weights=plan.weights,
        cores=threads,
        faces=settings.faces,
        decide_by=settings.decide_by,
        evidence=settings.evidence,
        by_shots=settings.by_shots,
        tally=tally,
    )
    jobs = {str(number): (video.path,) for number, video in enumerate(videos)}
    seconds = {str(number): patience(video.path) for number, video in enumerate(videos)}
    for number, outcome in workers.run(how, jobs, seconds, on_tick, ahead=workers.count + SPARE):
        yield Found(videos[int(number)], outcome)


def score(
    found: Iterator[Found],
    loading: Future[Networks],
    together: int,
    on_member: Callable[[int], None] = lambda done: None,
) -> Iterator[Scored]:
    """Score found videos, `together` at a time."""
    for group in in_batches(found, together):
        sampled = [part for one in group if isinstance(one.outcome, list) for part in one.outcome]
        networks = loading.result()
        scores = iter(networks.scores([part.faces for part in sampled], on_member) if sampled else [])
        for one in group:
            yield Scored(one, [next(scores) for _ in one.outcome] if isinstance(one.outcome, list) else [])


def conclude(scored: Scored, plan: Plan, calibration: Calibration | None) -> Result:
    """A video's result: its row and, if that is wanted, its evidence."""
    (video, outcome), scores = scored
    sampled, analysis, faces = None, None, tuple[FaceResult, ...]()
    if isinstance(outcome, list):
        results = [combine(plan.members, part) for part in scores]
        parts = [scored_row(video.name, plan.members, *part) for part in zip(outcome, scores, results, strict=True)]
        at, highest = highest_of(parts)
        sampled, row = outcome[at], complete(highest, plan, calibration)
        faces = face_results(row, sampled)
        if plan.settings.evidence:
            analysis = analyse(row, sampled, plan.members, scores[at], results[at])
    else:
        row = complete(failed_row(video.name, outcome, plan.members), plan, calibration)
    if not plan.settings.evidence:
        return Result(video.path, row, faces, None)
    digest = sampled.sha256 if sampled else None
    evidence = evidence_of(row, video.path, digest, plan.provenance, analysis)
    return Result(video.path, row, faces, document(evidence, sampled, plan.members))


def face_results(row: Row, sampled: Sampled) -> tuple[FaceResult, ...]:
    """The faces of a row, with times and boxes."""
    times = sampled.timing.times
    return tuple(
        FaceResult(
            **asdict(known),
            times=tuple(round(times[seen.frame], 3) for seen in face.track),
            boxes=tuple(seen.box for seen in face.track),
        )
        for known, face in zip(row.each_face, sampled.faces, strict=True)
    )


def complete(row: Row, plan: Plan, calibration: Calibration | None) -> Row:
    """Add to a row what the whole run knows: the digest, the members that were left out, the false-positive rate."""
    without = f"; without {', '.join(plan.left_out)}, which have no checkpoint" if plan.left_out else ""
    rate = calibration.rate(row.label) if calibration and row.status == Status.OK else None
    return replace(row, run=plan.digest, left_out=plan.left_out, reason=row.reason + without, false_positive_rate=rate)
