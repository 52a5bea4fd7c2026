"""Score videos and pictures from Python, with models that stay loaded.

    >>> from inference import Scorer
    >>> with Scorer() as scorer:
    ...     result = scorer.score("demo/clips/single_face.mp4")
    >>> result.status, result.verdict, len(result.faces)
    (<Status.OK: 'ok'>, 'uncertain', 1)

A video goes through three steps: find its faces (worker processes), score them (the networks), conclude (a row, its
faces, its evidence). A bad video has a status, and raises nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Self

from common.workers import Workers, cores, patience
from faces.detector import load_detector
from faces.masks import NOTHING, Known
from faces.video import in_batches
from inference.evidence.collect import analyse, evidence_of
from inference.evidence.maps import CropMap, maps_of
from inference.evidence.pages import document
from inference.judging import complete, judged, of_many, with_forms
from inference.members import MODELS, crop_kinds
from inference.networks.batches import VIDEOS_TOGETHER, Networks
from inference.networks.runtimes import load_networks
from inference.plan import Plan, Settings, plan
from inference.results import FaceResult, Result, face_results
from inference.rows import combine, failed_row, highest_of, scored_row
from inference.sampling.look import Wanted, sample
from inference.sampling.sampled import Sampled
from inference.sampling.tally import Tally
from inference.scoring import Score

SPARE = 2  # how many more videos than workers are at work or wait for the networks, at least


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


class Video(NamedTuple):
    """A video to score: its name in the submission, its path, and what is known of its faces."""

    name: str
    path: Path
    known: Known = NOTHING


class Found(NamedTuple):
    """A video with what was found in it, or in each of its shots, or with the error."""

    video: Video
    outcome: list[Sampled] | Exception


class Scored(NamedTuple):
    """A found video and each member's score of it, or of each of its shots; none if the video could not be read."""

    found: Found
    scores: list[dict[str, Score]]
    forms: list[dict[str, dict[str, Score]]]  # of each, those of its other forms by name


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
        stability: bool = False,
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
            stability=stability,
            evidence=evidence,
            calibration=calibration,
        )
        self._begin(plan(settings))

    @classmethod
    def of(cls, planned: Plan) -> Self:
        """A scorer by a plan."""
        scorer = cls.__new__(cls)
        scorer._begin(planned)
        return scorer

    def _begin(self, planned: Plan) -> None:
        self.plan = planned
        _ = planned.calibration  # one that cannot be used gives its error here
        load_detector(planned.weights, "cpu")  # a bad weights file gives one error here, not one for every video
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
        self._end_workers(at_once)
        self._beside.shutdown(cancel_futures=True)

    def _end_workers(self, at_once: bool = False) -> None:
        """End the worker processes; the next video starts new ones."""
        if self._workers:
            self._workers.end(at_once)
            self._workers = None

    @property
    def seconds(self) -> Mapping[str, float]:
        """How long each member took so far, and the maps of the evidence."""
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
                self._end_workers(at_once=True)
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
            yield conclude(scored, self.plan, self._loading.result())

    def _find(self, videos: list[Video], tally: Tally | None, on_tick: Callable[[], None]) -> Iterator[Found]:
        settings = self.plan.settings
        processes = max(min(settings.workers, len(videos)), 1)
        if self._workers is None or self._workers.count != processes:
            self._end_workers()
            self._workers = Workers(processes)
        return find(videos, self.plan, self._workers, tally, on_tick)


def find(
    videos: list[Video],
    plan: Plan,
    workers: Workers,
    tally: Tally | None = None,
    on_tick: Callable[[], None] = lambda: None,
) -> Iterator[Found]:
    """Find the faces of videos in worker processes; yield them as they finish."""
    settings = plan.settings
    wanted = Wanted(
        kinds=crop_kinds(plan.members.values()),
        weights=plan.weights,
        frames=settings.max_frames,
        cores=max(settings.workers // workers.count, 1),
        faces=settings.faces,
        decide_by=settings.decide_by,
        by_shots=settings.by_shots,
        evidence=settings.evidence,
        first=settings.first,
        stability=settings.stability,
    )
    together = VIDEOS_TOGETHER[plan.device]
    jobs = {str(number): (video.path, wanted, tally, video.known) for number, video in enumerate(videos)}
    seconds = {str(number): patience(video.path) for number, video in enumerate(videos)}
    for number, outcome in workers.run(sample, jobs, seconds, on_tick, under_way(workers, together)):
        yield Found(videos[int(number)], outcome)


def under_way(workers: Workers, together: int) -> int:
    """How many videos are at work or wait for the networks, which take `together` at a time.

    While the networks are at work, so many workers may finish before anybody gives them another video.
    """
    return workers.count + max(SPARE, together)


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
            parts = one.outcome if isinstance(one.outcome, list) else []
            forms = [{name: networks.scores([form.faces])[0] for name, form in part.forms.items()} for part in parts]
            yield Scored(one, [next(scores) for _ in parts], forms)


def conclude(scored: Scored, plan: Plan, networks: Networks) -> Result:
    """A video's result: its row and, if that is wanted, its evidence, for which the networks see some crops again."""
    (video, outcome), scores, forms = scored
    sampled, analysis, faces, maps = None, None, tuple[FaceResult, ...](), list[list[CropMap]]()
    if isinstance(outcome, list):
        results = [combine(plan.members, part) for part in scores]
        parts = [
            judged(scored_row(video.name, plan.members, *part), plan.calibration)
            for part in zip(outcome, scores, results, strict=True)
        ]
        at, highest = highest_of(parts)
        sampled, row = outcome[at], complete(of_many(highest), plan)
        row = with_forms(row, sampled, forms[at], plan)
        faces = face_results(row, sampled)
        if plan.settings.evidence:
            maps = maps_of(networks, sampled, [face.groups for face in row.each_face])
            analysis = analyse(row, sampled, plan.members, scores[at], results[at], maps)
    else:
        row = complete(judged(failed_row(video.name, outcome, plan.members), plan.calibration), plan)
    if not plan.settings.evidence:
        return Result(video.path, row, faces, None)
    digest = sampled.sha256 if sampled else None
    evidence = evidence_of(row, video.path, digest, plan.provenance, analysis)
    return Result(video.path, row, faces, document(evidence, sampled, plan.members, maps))
