"""Score videos and still images from Python, with models that stay loaded.

    >>> from inference import Scorer
    >>> with Scorer() as scorer:
    ...     result = scorer.score("demo/clips/single_face.mp4")
    >>> result.status, result.verdict, len(result.faces)
    (<Status.OK: 'ok'>, <VerdictName.UNCERTAIN: 'uncertain'>, 1)

A video goes through three steps: worker processes find its faces, the networks score them, and `conclude` makes the
result and, if wanted, the evidence. A bad video raises nothing: it has a status.
"""

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from multiprocessing import current_process
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from common.command import cores
from common.workers import Workers, outcome_of, patience
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

SPARE = 2  # videos beyond one per worker that are in progress or wait for the networks, at least


class Cancelled(Exception):  # noqa: N818 - nothing went wrong
    """Raise it in `watch` to stop the scoring of a video."""


class Progress(NamedTuple):
    """How far the scoring of a video is: the stage `faces` counts sampled frames, the stage `networks` counts members.

    `of` is their total number, None if it is not known yet.
    """

    stage: str
    done: int
    of: int | None


Watch = Callable[[Progress], None]


class Video(NamedTuple):
    """A video to score: its name in the submission, its path, and what chooses its faces, if anything does.

    `depends_on` lists other files on which its result depends.
    """

    name: str
    path: Path
    choose: Choose | None = None
    depends_on: tuple[Path, ...] = ()


class Found(NamedTuple):
    """A video with what was seen in it, or in each of its shots, or with the error."""

    video: Video
    outcome: list[Sampled] | Exception


class Scored(NamedTuple):
    """A video with each member's score of it, or of each of its shots; empty if it could not be read."""

    found: Found
    scores: list[dict[str, Score]]
    perturbed: list[dict[str, dict[str, Score]]]  # the same for its perturbed versions, by their names


class Scorer:
    """Scores videos and still images. Its networks load in the background and stay loaded.

    It has worker processes, so use it as a context manager, or call `close`. Only one thread at a time may call it.
    """

    def __init__(self, settings: Settings | Setup | None = None, **changes: Any) -> None:  # noqa: ANN401
        """Choose what scores. `changes` are settings by name, as in `Scorer(members="b0", max_faces=4)`.

        They change `settings`; the default is that of `inference.predict`, with evidence. Raises BadInputError for
        members, weights or a calibration that cannot be used, and TypeError for an unknown name.
        """
        if isinstance(settings, str):
            raise TypeError(f'a Scorer takes Settings; name members by keyword, as Scorer(members="{settings}")')
        if not isinstance(settings, Setup):
            settings = resolve((settings or Settings(evidence=True)).changed(**changes))
        self.setup = settings
        _ = self.setup.calibration  # a calibration that cannot be used raises its error here
        load_detector(self.setup.detector_weights, "cpu")  # bad weights raise one error here, not one per video
        self._workers: Workers | None = None
        self._beside = ThreadPoolExecutor(1)
        wanted = self.setup.settings
        how = (self.setup.device, wanted.precision, self.setup.runtime, wanted.workers or cores())
        self._loading = self._beside.submit(load_networks, self.setup.members, wanted.models, *how)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(at_once=kind is not None)

    def close(self, at_once: bool = False) -> None:
        """End the worker processes; with `at_once` also those that are at work."""
        self._end_workers(at_once)
        self._beside.shutdown(cancel_futures=True)

    def _end_workers(self, at_once: bool = False) -> None:
        """End the worker processes; the next video starts new ones."""
        if self._workers:
            self._workers.end(at_once)
            self._workers = None

    @property
    def seconds(self) -> Mapping[str, float]:
        """The seconds that each member, and the maps of the evidence, have taken so far."""
        return self._loading.result().seconds

    @property
    def can_score(self) -> bool:
        """Whether the networks are loaded, or still loading: if that failed, every video raises its error."""
        return not self._loading.done() or self._loading.exception() is None

    @cached_property
    def provenance(self) -> "Provenance":
        """The files, versions and settings that make the scores."""
        from inference.evidence.collect import provenance_of

        return provenance_of(self.setup)

    def score(self, path: Path | str, name: str | None = None, watch: Watch | None = None) -> Result:
        """Score a video or still image on all cores, under its file's name or another `name`.

        `watch` is called about twice per second. If it raises Cancelled, the worker ends and Cancelled is raised here.
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
        """Score videos and still images under their files' names; yield the results as they finish."""
        return self.score_videos([Video(Path(path).name, Path(path)) for path in paths])

    def score_videos(
        self,
        videos: Sequence[Video],
        tally: Tally | None = None,
        on_tick: Callable[[], None] = lambda: None,
        on_member: Callable[[int], None] = lambda done: None,
    ) -> Iterator[Result]:
        """Like `score_many`, under given names, which need not be unique. `on_tick` and `on_member` report progress."""
        found = find(videos, self.setup, self._workers_for(len(videos)), tally, on_tick)
        for scored_video in score(found, self._loading, VIDEOS_TOGETHER[self.setup.device], on_member):
            yield self._conclude(scored_video)

    def _workers_for(self, videos: int) -> Workers | None:
        """One worker process per video, at most as many as the settings say; None if this process does their work.

        That is so with 0 workers, and in a daemonic process, such as a worker of multiprocessing's pool or of Celery,
        which may not start any. It is also so for one video that is screened: a process would take longer to start than
        its work takes.
        """
        settings = self.setup.settings
        if settings.workers == 0 or current_process().daemon or (settings.screen and videos == 1):
            return None
        processes = max(min(self.setup.settings.workers, videos), 1)
        if self._workers is None or self._workers.count != processes:
            self._end_workers()
            self._workers = Workers(processes)
        return self._workers

    def _conclude(self, scored_video: Scored) -> Result:
        """A video's result and, if wanted, its evidence, for which the networks see some crops again."""
        (video, outcome), scores, perturbed = scored_video
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
        """The result with its evidence, if the settings ask for it."""
        if not self.setup.settings.evidence:
            return result
        from inference.evidence.collect import evidence_of
        from inference.evidence.maps import maps_of

        groups = [face.groups for face in result.faces]
        maps = maps_of(self._loading.result(), sampled, groups) if sampled else []
        evidence = evidence_of(result, video.path, self.provenance, self.setup, sampled, scores, maps)
        return replace(result, evidence=evidence, sha256=evidence.input.sha256)


def find(
    videos: Sequence[Video],
    setup: Setup,
    workers: Workers | None,
    tally: Tally | None = None,
    on_tick: Callable[[], None] = lambda: None,
) -> Iterator[Found]:
    """Find the faces of videos in worker processes, or in this one without workers; yield them as they finish."""
    share = max((setup.settings.workers or cores()) // (workers.count if workers else 1), 1)
    wanted = Wanted(setup.settings, crop_kinds(setup.members.values()), setup.detector_weights, share)
    jobs = {}
    for index, video in enumerate(videos):
        if os.path.lexists(video.path):
            jobs[str(index)] = (video.path, wanted, tally, video.choose)
        else:  # no worker is needed to see that, of which some data sets lack thousands
            yield Found(video, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(video.path)))
    if workers is None:
        for number, job in jobs.items():
            on_tick()
            yield Found(videos[int(number)], outcome_of(sample, job))
        return
    seconds = {number: patience(videos[int(number)].path) for number in jobs}
    ahead = under_way(workers, VIDEOS_TOGETHER[setup.device])
    for number, outcome in workers.run(sample, jobs, seconds, on_tick, ahead):
        yield Found(videos[int(number)], outcome)


def under_way(workers: Workers, together: int) -> int:
    """How many videos are in progress or wait for the networks, which take `together` at a time.

    While the networks run, that many workers may finish before they get another video.
    """
    return workers.count + max(SPARE, together)


def score(
    found: Iterator[Found],
    loading: Future[Networks],
    together: int,
    on_member: Callable[[int], None] = lambda done: None,
) -> Iterator[Scored]:
    """Score videos whose faces were found, `together` at a time."""
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
