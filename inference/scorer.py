"""Score videos and still images from Python, with models that stay loaded.

    >>> from inference import Scorer
    >>> with Scorer() as scorer:
    ...     result = scorer.score("demo/clips/single_face.mp4")
    >>> result.status, result.verdict, len(result.faces)
    (<Status.OK: 'ok'>, 'uncertain', 1)

A video goes through three steps: find its faces (worker processes), score them (the networks), conclude (its result
and, if wanted, the evidence for it). A bad video has a status, and raises nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from common.workers import Workers, patience
from faces.detector import load_detector
from faces.video import in_batches
from inference.conclude import complete, failed, highest, judged, scored, with_perturbed
from inference.members import crop_kinds
from inference.networks.runtimes import VIDEOS_TOGETHER, Networks, load_networks
from inference.results import Result
from inference.sampling.look import Choose, Wanted, sample
from inference.sampling.sampled import Sampled
from inference.sampling.tally import Tally
from inference.scoring import Score
from inference.settings import Settings, Setup, resolve

if TYPE_CHECKING:
    from inference.evidence.facts import Provenance

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
    """A video to score: its name in the submission, its path, and what chooses its faces, if something does.

    `depends_on` are other files that its result depends on.
    """

    name: str
    path: Path
    choose: Choose | None = None
    depends_on: tuple[Path, ...] = ()


class Found(NamedTuple):
    """A video with what was found in it, or in each of its shots, or with the error."""

    video: Video
    outcome: list[Sampled] | Exception


class Scored(NamedTuple):
    """A found video and each member's score of it, or of each of its shots; none if the video could not be read."""

    found: Found
    scores: list[dict[str, Score]]
    perturbed: list[dict[str, dict[str, Score]]]  # the same of its perturbed versions, by their names


class Scorer:
    """Scores videos and still images. Its networks load in the background when it is made, and stay loaded.

    Use it as a context manager, or call `close`: it has worker processes. One thread at a time may call it.
    """

    def __init__(self, settings: Settings | Setup | None = None, **changes: Any) -> None:  # noqa: ANN401
        """Choose what scores: `changes` are settings by name, as `Scorer(members="b0", max_faces=4)`.

        They change `settings`, by default those of `inference.predict` with evidence. Raises BadInputError for members,
        weights, or a calibration that cannot be used, and TypeError for an unknown name.
        """
        if isinstance(settings, str):
            raise TypeError(f'a Scorer takes Settings; name members by keyword, as Scorer(members="{settings}")')
        if not isinstance(settings, Setup):
            settings = resolve((settings or Settings(evidence=True)).changed(**changes))
        self.setup = settings
        _ = self.setup.calibration  # one that cannot be used gives its error here
        load_detector(self.setup.detector_weights, "cpu")  # bad weights give one error here, not one for every video
        self._workers: Workers | None = None
        self._beside = ThreadPoolExecutor(1)
        wanted = self.setup.settings
        how = (self.setup.device, wanted.precision, self.setup.runtime, wanted.workers)
        self._loading = self._beside.submit(load_networks, self.setup.members, wanted.models, *how)

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

    @cached_property
    def provenance(self) -> "Provenance":
        """Which files, versions and settings make the scores."""
        from inference.evidence.collect import provenance_of

        return provenance_of(self.setup)

    def score(self, path: Path | str, name: str | None = None, watch: Watch | None = None) -> Result:
        """Score a video or still image on all cores, under its file's name or another one.

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
                watch(Progress("networks", done, len(self.setup.members)))

            try:
                return next(self.score_videos([video], tally, look, on_member))
            except BaseException:
                self._end_workers(at_once=True)
                raise

    def score_many(self, paths: Iterable[Path | str]) -> Iterator[Result]:
        """Score videos and images, under their files' names; yield the results in the order in which they finish."""
        return self.score_videos([Video(Path(path).name, Path(path)) for path in paths])

    def score_videos(
        self,
        videos: Sequence[Video],
        tally: Tally | None = None,
        on_tick: Callable[[], None] = lambda: None,
        on_member: Callable[[int], None] = lambda done: None,
    ) -> Iterator[Result]:
        """As `score_many`, under given names; names may come twice."""
        found = find(videos, self.setup, self._workers_for(len(videos)), tally, on_tick)
        for one_scored in score(found, self._loading, VIDEOS_TOGETHER[self.setup.device], on_member):
            yield self._conclude(one_scored)

    def _workers_for(self, videos: int) -> Workers:
        """As many worker processes as there are videos, at most those of the settings."""
        processes = max(min(self.setup.settings.workers, videos), 1)
        if self._workers is None or self._workers.count != processes:
            self._end_workers()
            self._workers = Workers(processes)
        return self._workers

    def _conclude(self, one_scored: Scored) -> Result:
        """A video's result and, if that is wanted, its evidence, for which the networks see some crops again."""
        (video, outcome), scores, perturbed = one_scored
        setup, members = self.setup, self.setup.members
        if isinstance(outcome, Exception):
            result = complete(judged(failed(video.name, outcome, members), setup.calibration), setup)
            return self._with_evidence(replace(result, path=video.path), video)
        parts = [
            judged(scored(video.name, members, sampled, of_part), setup.calibration)
            for sampled, of_part in zip(outcome, scores, strict=True)
        ]
        index, best = highest(parts)
        result = with_perturbed(complete(best, setup), outcome[index], perturbed[index], setup)
        return self._with_evidence(replace(result, path=video.path), video, outcome[index], scores[index])

    def _with_evidence(
        self,
        result: Result,
        video: Video,
        sampled: Sampled | None = None,
        scores: Mapping[str, Score] | None = None,
    ) -> Result:
        """The result with its evidence, if the settings want it."""
        if not self.setup.settings.evidence:
            return result
        from inference.evidence.collect import evidence_of
        from inference.evidence.maps import maps_of

        groups = [face.groups for face in result.faces]
        maps = maps_of(self._loading.result(), sampled, groups) if sampled else []
        evidence = evidence_of(result, video.path, self.provenance, self.setup.members, sampled, scores, maps)
        return replace(result, evidence=evidence)


def find(
    videos: Sequence[Video],
    setup: Setup,
    workers: Workers,
    tally: Tally | None = None,
    on_tick: Callable[[], None] = lambda: None,
) -> Iterator[Found]:
    """Find the faces of videos in worker processes; yield them as they finish."""
    cores = max(setup.settings.workers // workers.count, 1)
    wanted = Wanted(setup.settings, crop_kinds(setup.members.values()), setup.detector_weights, cores)
    jobs = {str(number): (video.path, wanted, tally, video.choose) for number, video in enumerate(videos)}
    seconds = {str(number): patience(video.path) for number, video in enumerate(videos)}
    ahead = under_way(workers, VIDEOS_TOGETHER[setup.device])
    for number, outcome in workers.run(sample, jobs, seconds, on_tick, ahead):
        yield Found(videos[int(number)], outcome)


def under_way(workers: Workers, together: int) -> int:
    """How many videos are at work or wait for the networks, which take `together` at a time.

    While the networks are at work, that many workers may finish before anybody gives them another video.
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
        parts_of = [[] if isinstance(video.outcome, Exception) else video.outcome for video in group]
        faces = [part.faces for parts in parts_of for part in parts]
        networks = loading.result()
        scores = iter(networks.scores(faces, on_member) if faces else [])
        for video, parts in zip(group, parts_of, strict=True):
            perturbed = [
                {name: networks.scores([version.faces])[0] for name, version in part.perturbed.items()}
                for part in parts
            ]
            yield Scored(video, [next(scores) for _ in parts], perturbed)
