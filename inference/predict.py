"""Stage 6: score videos with the ensemble.

Reads  videos, pictures, folders of videos, patterns, or a CSV with a column `filename` (--list, looked up in --videos);
       checkpoints; the detector
Writes submission.csv: `filename,label` in the order of the input; label = probability of FAKE
       submission.jsonl beside it, an object per video: filename, label, status, reason, frames, faces, members, image,
       video, seconds, run, left_out, face_frames, detections, not_scored, notes, shots, not_finite, each_face,
       false_positive_rate, verdict, conditions, judgement, forms, stability (explained in inference.rows)
       submission.verdicts.csv, for people: what each label is called, and how many real ones score as high
       with --evidence DIR a JSON and a page per video, and DIR/index.html

With --shard i/n, or in a Slurm array (predict.sh), it scores every n-th video into submission-<i>-of-<n>.csv and
.jsonl. `python -m inference.merge` merges these.

Worker processes find and cut the faces of the next videos while the networks score one. If it is killed, run it again
and it goes on: submission.partial.jsonl holds the rows until all are done.

A folder or a pattern stands for the videos in it, by their suffix or their content (docs/files.md); what is left out is
counted and named. With --shots a video is cut where its picture changes at once, each shot is scored as if it were a
video, and the highest score counts. The contract's score, the default, looks at all frames together.

The status of a video is ok, no_face, too_few_frames, decode_error, missing, unsupported, changed, not_finite or
crashed. All but ok have the label .5. The exit status is 1 if a video could not be read, changed meanwhile, or got no
finite number from any network.

    python -m inference.predict clip.mp4 folder/ 'more/**/*.mp4' --members b0 --output submission.csv
    python -m inference.predict --list sample_submission.csv --videos test_videos --evidence evidence/
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.command import DEVICES, Shard, parse_shard, positive, run_script, wanted_shard
from common.status import UNREADABLE, Status
from common.workers import cores, progress
from faces.masks import Known
from inference.evidence.pages import evidence_file
from inference.inputs import find_videos
from inference.members import MODELS
from inference.networks.runtimes import PRECISIONS, RUNTIMES
from inference.plan import Settings, plan
from inference.rows import Row, exit_status, statuses, utf8_name
from inference.run import Output, Run
from inference.sampling.sampled import MAX_FACES
from inference.scoring import VIDEO_FRAMES
from inference.verdicts import BANDS

NAMED = 10  # videos of which each has a line at the end
MEMBER_SETTINGS = (
    *("models", "members", "allow_missing", "calibration", "weights", "device", "precision", "runtime", "workers"),
)
RUNTIME_NAMES = {"onnx": "ONNX Runtime", "torch": "PyTorch"}


def scoring_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with videos as inputs and the options of every command that scores videos."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="*", type=Path, metavar="VIDEO_FOLDER_OR_PATTERN")
    add_scoring_options(parser)
    return parser


def add_member_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which members score, and by what."""
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help=f"checkpoints (default: {MODELS})")
    parser.add_argument(
        "--members", metavar="A,B", help="default: all eleven, or the shipped ones where none of them is there"
    )
    parser.add_argument(
        "--allow-missing", action="store_true", help="go on without the members that have no checkpoint"
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="of these members, by quality.evaluate --fit (default: the one beside the checkpoints, if it is theirs)",
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="detector (default: the one in inference/face_detect_ckpt)"
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="of the networks; faces are found on the CPU")
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="fp32", help="of the networks (default: fp32, the contract's)"
    )
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        default="auto",
        help="of the networks (default: ONNX Runtime on a CPU if all members have an ONNX file, else PyTorch)",
    )
    parser.add_argument(
        "--workers", type=positive, default=cores(), metavar="N", help="find faces (default: all cores)"
    )


def add_scoring_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how videos are scored."""
    add_member_options(parser)
    parser.add_argument(
        "--max-frames",
        type=positive,
        default=VIDEO_FRAMES,
        metavar="N",
        help=f"sampled of a video, at most (default: {VIDEO_FRAMES})",
    )
    parser.add_argument(
        "--faces",
        type=positive,
        default=MAX_FACES,
        metavar="N",
        help=f"score up to so many faces (default: {MAX_FACES}, the contract's)",
    )
    parser.add_argument(
        "--decide-by",
        type=positive,
        default=MAX_FACES,
        metavar="N",
        help=f"let the label depend on so many of these (default: {MAX_FACES}, as the contract chooses them)",
    )
    parser.add_argument(
        "--stability",
        action="store_true",
        help="also score the video as it would come out of other hands: smaller, compressed, cut, mirrored, slower",
    )
    parser.add_argument(
        "--shots",
        action="store_true",
        help="score each shot and take the highest (default: the contract's whole video)",
    )


def member_settings(options: argparse.Namespace) -> dict[str, Any]:
    """The settings that the options of `add_member_options` mean."""
    return {name: getattr(options, name) for name in MEMBER_SETTINGS}


def settings_of(options: argparse.Namespace, evidence: bool = False) -> Settings:
    """The settings that the options of `scoring_parser` mean."""
    return Settings(
        **member_settings(options),
        max_frames=options.max_frames,
        faces=options.faces,
        decide_by=options.decide_by,
        by_shots=options.shots,
        evidence=evidence,
        stability=options.stability,
    )


def score_videos(
    videos: Mapping[str, Path],
    settings: Settings,
    output: Output,
    more: str = "",
    known_of: Mapping[str, Known] | None = None,
) -> list[Row]:
    """Score videos with a progress bar and write the submission; return the rows in the order of the videos.

    `known_of` holds what is known of the faces of some videos. It also prints where the time went; the summary line
    ends with `more`. Raises BadInputError for members, weights, an output or a ledger that cannot be used.
    """
    planned = plan(settings)
    names = ", ".join(planned.members)
    print(f"predict: scoring with {names} of {settings.models}, by {RUNTIME_NAMES[planned.runtime]}", flush=True)
    run = Run(planned, output)
    if not planned.calibration:
        print(f"predict: {BANDS}", flush=True)
    rows: dict[str, Row] = {}
    with progress(total=len(videos), desc="predict", unit="video") as bar:
        for row in run.rows(videos, known_of):
            rows[row.filename] = row
            said = [f"{row.status}: {row.reason}"] if row.status in UNREADABLE else []
            said += row.notes if row.is_remarkable else ()
            if said:
                bar.write(f"predict: {row.filename}: {'; '.join(said)}", file=sys.stderr)
            bar.update()
    in_order = [rows[name] for name in videos]
    run.write(in_order)
    print(table(run))
    if len(in_order) <= NAMED:
        print("".join(f"{said_of(row, output.evidence)}\n" for row in in_order))
    print(f"predict: {statuses(in_order)}; {output.submission}{more}")
    return in_order


def said_of(row: Row, evidence: Path | None) -> str:
    """A video's score, what it is called, and where its page is, in a line."""
    said = f"{row.label:.3f}, {row.verdict}" if row.status == Status.OK else f"{row.verdict}, {row.status}"
    if row.judgement:
        said += f" ({row.judgement.words})"
    if row.stability:
        said += f"; {row.stability}"
    page = f"; {evidence_file(evidence, row.filename, '.html')}" if evidence else ""
    return utf8_name(f"{row.filename}: {said}{page}")


def table(run: Run) -> str:
    """The seconds of a run by stage, as text."""
    lines = [
        f"{stage:<16}{seconds:>9.1f} s{seconds / max(run.scored, 1):>10.2f} s a video"
        for stage, seconds in run.seconds.items()
    ]
    return "\n".join(["", *lines, ""])


def shard_output(output: Path, shard: Shard) -> Path:
    """The path of a shard's submission, beside that of the whole."""
    return output.with_name(f"{output.stem}-{shard.index}-of-{shard.count}{output.suffix}")


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


def main() -> int:
    """Score every video of this shard; return 1 if one could not be read, else 0."""
    options = parse_arguments()
    shard = wanted_shard(options.shard)
    found = find_videos(options.inputs, options.list, options.videos)
    videos, submission = found.videos, options.output
    if shard:
        videos, submission = shard.of(videos), shard_output(submission, shard)
    output = Output(submission, options.evidence, is_shard=shard is not None)
    settings = settings_of(options, evidence=options.evidence is not None)
    return exit_status(score_videos(videos, settings, output, found.said))


if __name__ == "__main__":
    run_script(main)
