"""Stage 6: score videos with the ensemble.

Reads  videos, still images, folders of videos, patterns, or a CSV with a column `filename` (--list; its files lie in
       --videos); the members' checkpoints; the detector's weights
Writes submission.csv            `filename,label` in the order of the input; labels go from 0 (real) to 1 (fake)
       submission.jsonl          one object per video: everything known about its score (inference/README.md)
       submission.verdicts.csv   for people: what each label is called, and how many real faces score as high
       with --evidence DIR, a JSON file and a page per video, and DIR/index.html

With --shard i/n, or in a Slurm array (predict.sh), it scores every n-th video into submission-<i>-of-<n>.csv and
.jsonl. `python -m inference.merge` merges the shards.

Worker processes find the faces of the next videos while the networks score one. If the run is killed, start it again
and it resumes: submission.partial.jsonl holds the results until all are done.

A folder or a pattern stands for its videos and still images, recognised by suffix or content (docs/use/video_files.md),
with --recursive also for those in subfolders; whatever is left out is counted and named. If none of the inputs exists,
nothing is written. With --output - the rows of submission.jsonl are printed instead; without --output, an earlier
submission.csv with other videos or scores is renamed. With --shots, a video is cut where its picture changes abruptly,
each shot is scored as if it were a video, and the highest score counts. By default one score comes from all frames
together, as in the reference. With --screen, only thirty frames that cost little to reach are looked at
(docs/use/screening.md).

A video's status is ok, no_face, too_few_frames, decode_error, missing, unsupported, changed, not_finite or crashed.
Every status but ok has the label 0.5. The exit status is 1 if a video could not be read, changed while it was read, or
got no finite number from any network.

    python -m inference.predict clip.mp4 folder/ 'more/**/*.mp4' --members b0 --output submission.csv
    python -m inference.predict --list sample_submission.csv --videos test_videos --evidence evidence/
"""

import argparse
from pathlib import Path

from common.command import Shard, command_parser, parse_shard, run_script, wanted_shard
from common.errors import BadInputError
from common.files import file_beside
from inference.settings import Settings, add_options


def shard_output(output: Path, shard: Shard) -> Path:
    """The path of a shard's submission, beside that of the whole."""
    return file_beside(output, f"-{shard.index}-of-{shard.count}.csv")


def scoring_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser for a command that scores videos: its inputs, and the options of `Settings`."""
    parser = command_parser(description)
    parser.add_argument("inputs", nargs="*", type=Path, metavar="VIDEO_FOLDER_OR_PATTERN")
    add_options(parser)
    return parser


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the options that select videos, besides the inputs."""
    text = "with a column `filename`, such as Kaggle's sample_submission.csv"
    parser.add_argument("--list", type=Path, metavar="CSV", help=text)
    text = "folder of the files in --list (default: test_videos)"
    parser.add_argument("--videos", type=Path, default=Path("test_videos"), metavar="DIR", help=text)
    parser.add_argument("--recursive", action="store_true", help="also score what is in the subfolders of a folder")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = scoring_parser(__doc__)
    add_selection(parser)
    text = "default: submission.csv; one with other videos or scores is renamed; - prints the rows of submission.jsonl"
    parser.add_argument("--output", type=Path, metavar="CSV", help=text)
    text = "write a JSON file and a page per video; scoring a video again replaces its own"
    parser.add_argument("--evidence", type=Path, metavar="DIR", help=text)
    text = "put number, examiner, question and notes of a case into the evidence (docs/use/reports.md)"
    parser.add_argument("--case", type=Path, metavar="TOML", help=text)
    parser.add_argument(
        "--shard", type=parse_shard, metavar="i/n", help="default: that of the Slurm array, else all videos"
    )
    return parser.parse_args()


def main() -> int:
    """Score every video of this shard; return 1 if a video could not be read, else 0."""
    options = parse_arguments()

    if options.case and not options.evidence:
        raise BadInputError("--case is shown in the evidence: give --evidence DIR too")
    from faces.video_files import find_videos  # these take long to import, and --help does not wait for them
    from inference.evidence.case import read_case
    from inference.results import exit_status
    from inference.run import Output, print_rows, score_videos
    from inference.scorer import Scorer, Video

    shard = wanted_shard(options.shard)
    found = find_videos(options.inputs, options.list, options.videos, options.recursive)
    paths, submission = found.videos, options.output or Path("submission.csv")
    if shard:
        if str(submission) == "-":
            raise BadInputError("--output - is for all videos: leave out --shard")
        paths, submission = shard.of(paths), shard_output(submission, shard)
    videos = [Video(name, path) for name, path in paths.items()]
    default = options.output is None and not shard
    case = read_case(options.case) if options.case else None
    output = Output(submission, options.evidence, case, is_shard=shard is not None, keeps_earlier=default)
    settings = Settings.of(options, evidence=options.evidence is not None)
    if options.inputs and not any(path.exists() for path in found.videos.values()):
        with Scorer(settings) as scorer:
            _ = scorer.seconds  # waits for the networks: members or weights that cannot be used are said first
        raise FileNotFoundError(f"{next(iter(found.videos.values()))} does not exist; nothing was scored")
    if str(submission) == "-":
        return print_rows(videos, settings, output, found.note)
    return exit_status(score_videos(videos, settings, output, found.note).values())


if __name__ == "__main__":
    run_script(main)
