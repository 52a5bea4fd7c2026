"""How the items of a benchmark are scored: videos by the members, or one after another in this process."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from common.command import Shard
from common.errors import BadInputError
from common.files import FileState
from common.status import UNREADABLE, Status
from common.workers import progress
from inference.evidence.collect import provenance_of
from inference.ledger import Json, Ledger, same_file, sources_of, state_of
from inference.merge import read_shards, shard_files
from inference.predict import shard_output
from inference.results import Result, write_submission, write_verdicts
from inference.run import Output, score_videos
from inference.scorer import Video
from inference.settings import Settings, resolve
from quality.external import load_detector
from quality.masks import MaskChoice
from quality.sets.items import Item
from quality.sets.precropped import CropScorer

Scored = tuple[Mapping[str, Result], Json]  # results by the items' keys, and what benchmark.json says of the scorer


class ItemScorer(Protocol):
    """Scores items in this process."""

    @property
    def depends_on(self) -> Json:
        """What the results depend on; another run's results with other values are not used."""

    @property
    def provenance(self) -> Json:
        """What benchmark.json says of the scorer."""

    def state(self, item: Item, root: Path) -> FileState | None:
        """The state of the item's files; a result that was made in another state is not used."""

    def score(self, item: Item, root: Path) -> Result:
        """The item's result."""


def score_items(
    items: Sequence[Item], root: Path, settings: Settings, output: Path, shard: Shard | None, detector: Path | None
) -> Scored:
    """Score items, or those of a shard, and write `output` as inference.predict does.

    The members score, or the external detector in a file. When it is called again, it goes on from the ledger, which
    the caller removes. Raises BadInputError for members, weights, a detector, shards or a ledger that cannot be used.
    """
    precropped = any(item.frames for item in items)
    if not (detector or precropped):
        results = score_by_members(videos_of(items, root), settings, output, shard)
        return results, asdict(provenance_of(resolve(settings)))
    if shard:
        raise BadInputError("external detectors and precropped faces are scored in one process: no --shard")
    with ExitStack() as stack:
        external = stack.enter_context(closing(load_detector(detector))) if detector else None
        scorer: ItemScorer = external or CropScorer(settings)
        return score_one_by_one(scorer, items, root, output), scorer.provenance


def score_one_by_one(scorer: ItemScorer, items: Sequence[Item], root: Path, output: Path) -> dict[str, Result]:
    """Score items one after another; a result that an earlier run made in the same way of the same files is kept."""
    ledger = Ledger(output, scorer.depends_on)
    results = {}
    with progress(total=len(items), desc="benchmark", unit="video") as bar:
        for item in items:
            state = scorer.state(item, root)
            row = ledger.result(item.key, state)
            result = scorer.score(item, root) if row is None else Result.from_row(row)
            if row is None:
                ledger.add(item.key, state, result.to_row())
            if result.status != Status.OK:
                bar.write(f"benchmark: {item.key}: {result.reason}", file=sys.stderr)
            results[item.key] = result
            bar.update()
    write_submission(output, results.values())
    return results


def videos_of(items: Sequence[Item], root: Path) -> list[Video]:
    """The items' videos, to be scored; where there is a mask video of a fake, it chooses the face."""
    videos = []
    for item in items:
        mask = root / item.mask if item.mask else None
        if mask and mask.is_file():
            videos.append(Video(item.key, root / item.key, MaskChoice(mask), (mask,)))
        else:
            videos.append(Video(item.key, root / item.key))
    return videos


def score_by_members(
    videos: Sequence[Video], settings: Settings, output: Path, shard: Shard | None
) -> Mapping[str, Result]:
    """Score videos, or those of a shard, by the members, by name; results that shards left are used.

    Raises BadInputError as `results_of_shards` does.
    """
    if shard:
        of_shard = list(shard.of({video.name: video for video in videos}).values())
        return score_videos(of_shard, settings, Output(shard_output(output, shard), is_shard=True))
    known = results_of_shards(output, settings, videos)
    remaining = [video for video in videos if video.name not in known]
    if remaining:
        known |= score_videos(remaining, settings, Output(output, keeps_ledger=True))
    results = {video.name: known[video.name] for video in videos}
    if len(remaining) < len(videos):
        write_submission(output, results.values())
        write_verdicts(output, results.values())
    return results


def results_of_shards(output: Path, settings: Settings, videos: Sequence[Video]) -> dict[str, Result]:
    """The results that shards left, by name, except those of videos that changed since or could not be read.

    Raises BadInputError for shards of other members, weights or options.
    """
    if not shard_files(output, ".jsonl"):
        return {}
    known = read_shards(output)
    if any(result.run != resolve(settings).digest for result in known.values()):
        raise BadInputError(f"the shards of {output} were scored with other members, weights or options")
    states = {
        name: state for ledger in shard_files(output, ".partial.jsonl") for name, state in sources_of(ledger).items()
    }
    same = {video.name for video in videos if same_file(states.get(video.name), state_of(video))}
    return {name: result for name, result in known.items() if name in same and result.status not in UNREADABLE}
