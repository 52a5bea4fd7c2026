"""Stage 6: score videos with the ensemble.

Reads  videos, still images, folders of videos, patterns, or a CSV with a column `filename` (--list, looked up in
       --videos); checkpoints; the detector
Writes submission.csv: `filename,label` in the order of the input; the label is a score from 0 (real) to 1 (fake)
       submission.jsonl beside it, an object per video: all that is known of its score (inference/README.md)
       submission.verdicts.csv, for people: what each label is called, and how many real ones score as high
       with --evidence DIR a JSON and a page per video, and DIR/index.html

With --shard i/n, or in a Slurm array (predict.sh), it scores every n-th video into submission-<i>-of-<n>.csv and
.jsonl. `python -m inference.merge` merges these.

Worker processes find and cut the faces of the next videos while the networks score one. If it is killed, run it again
and it goes on: submission.partial.jsonl holds the results until all are done.

A folder or a pattern stands for the videos in it, by their suffix or their content (docs/use/video_files.md); what is
left out is counted and named. With --shots a video is cut where its picture changes at once, each shot is scored as if
it were a video, and the highest score counts. The default is as in the reference: one score from all frames together.

The status of a video is ok, no_face, too_few_frames, decode_error, missing, unsupported, changed, not_finite or
crashed. All but ok have the label 0.5. The exit status is 1 if a video could not be read, changed meanwhile, or got no
finite number from any network.

    python -m inference.predict clip.mp4 folder/ 'more/**/*.mp4' --members b0 --output submission.csv
    python -m inference.predict --list sample_submission.csv --videos test_videos --evidence evidence/
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from common.command import Shard, parse_shard, run_script, wanted_shard
from common.status import UNREADABLE, Status
from common.workers import progress
from faces.video_files import find_videos
from inference.conclude import face_notes
from inference.results import Result, exit_status, statuses, utf8_name
from inference.run import Output, Run
from inference.scorer import Video
from inference.settings import Settings, add_options, resolve
from inference.verdicts import BANDS

NAMED = 10  # videos of which each has a line at the end
RUNTIME_NAMES = {"onnx": "ONNX Runtime", "torch": "PyTorch"}


def score_videos(videos: Sequence[Video], settings: Settings, output: Output, more: str = "") -> list[Result]:
    """Score videos with a progress bar and write the submission; return the results in the order of the videos.

    It also prints where the time went; the summary line ends with `more`. Raises BadInputError for members, weights, an
    output or a ledger that cannot be used.
    """
    setup = resolve(settings)
    names = ", ".join(setup.members)
    print(f"predict: scoring with {names} of {settings.models}, by {RUNTIME_NAMES[setup.runtime]}", flush=True)
    run = Run(setup, output)
    if not setup.calibration:
        print(f"predict: {BANDS}", flush=True)
    results: dict[str, Result] = {}
    with progress(total=len(videos), desc="predict", unit="video") as bar:
        for result in run.results(videos):
            results[result.filename] = result
            if remarks := remarks_on(result):
                bar.write(f"predict: {result.filename}: {'; '.join(remarks)}", file=sys.stderr)
            bar.update()
    in_order = [results[video.name] for video in videos]
    run.write(in_order)
    print(table(run))
    if len(in_order) <= NAMED:
        print("".join(f"{describe(result, output.evidence)}\n" for result in in_order))
    print(f"predict: {statuses(in_order)}; {output.submission}{more}")
    return in_order


def remarks_on(result: Result) -> list[str]:
    """What a person should be told of a video at once; nothing for most."""
    remarks = [f"{result.status}: {result.reason}"] if result.status in UNREADABLE else []
    few_faces = 0 < 2 * result.face_frames <= result.frames
    of_the_file = len(result.notes) > len(face_notes(result))
    if of_the_file or few_faces or 4 * result.not_scored > result.detections:
        remarks += result.notes
    return remarks


def describe(result: Result, evidence: Path | None) -> str:
    """A video's score, what it is called, and where its page is, in a line."""
    scored = result.status == Status.OK
    text = f"{result.label:.3f}, {result.verdict}" if scored else f"{result.verdict}, {result.status}"
    if result.judgement:
        text += f" ({result.judgement.words})"
    if result.stability:
        text += f"; {result.stability}"
    if evidence:
        from inference.evidence.pages import evidence_file

        text += f"; {evidence_file(evidence, result.filename, '.html')}"
    return utf8_name(f"{result.filename}: {text}")


def table(run: Run) -> str:
    """The seconds of a run by stage, as text."""
    lines = [
        f"{stage:<16}{seconds:>9.1f} s{seconds / max(run.scored, 1):>10.2f} s per video"
        for stage, seconds in run.seconds.items()
    ]
    return "\n".join(["", *lines, ""])


def shard_output(output: Path, shard: Shard) -> Path:
    """The path of a shard's submission, beside that of the whole."""
    return output.with_name(f"{output.stem}-{shard.index}-of-{shard.count}{output.suffix}")


def scoring_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with videos as inputs and the options of every command that scores videos."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="*", type=Path, metavar="VIDEO_FOLDER_OR_PATTERN")
    add_options(parser)
    return parser


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = scoring_parser(__doc__)
    parser.add_argument(
        "--list", type=Path, metavar="CSV", help="with a column `filename`, such as Kaggle's sample_submission.csv"
    )
    parser.add_argument(
        "--videos", type=Path, default=Path("test_videos"), metavar="DIR", help="where the files of --list are"
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
    paths, submission = found.videos, options.output
    if shard:
        paths, submission = shard.of(paths), shard_output(submission, shard)
    videos = [Video(name, path) for name, path in paths.items()]
    output = Output(submission, options.evidence, is_shard=shard is not None)
    settings = Settings.of(options, evidence=options.evidence is not None)
    return exit_status(score_videos(videos, settings, output, found.note))


if __name__ == "__main__":
    run_script(main)
