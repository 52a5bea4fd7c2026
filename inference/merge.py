"""Merge the submissions of all shards of `inference.predict` into one.

Reads  submission-<i>-of-<n>.jsonl beside --output, and the same videos or --list as the shards
Writes submission.csv, submission.jsonl and submission.verdicts.csv, in the order of the input; with --evidence the
       index.html of all videos

The exit status is 1 if a video could not be read. If a video has no row yet, it is 2 and nothing is written.

    python -m inference.merge --list sample_submission.csv --output submission.csv
"""

import re
import resource
from pathlib import Path

from common.command import command_parser, run_script
from common.errors import BadInputError
from common.files import file_beside
from faces.video_files import find_videos
from inference.predict import add_selection
from inference.results import StoredResults, exit_status, read_results, statuses, write_submission, write_verdicts

SHOWN = 5


def shard_files(output: Path, suffix: str) -> dict[Path, int]:
    """The files of a submission's shards with this suffix, each with the number of shards in its name.

    Files of other submissions, such as `<stem>-more.csv`, are not among them.
    """
    pattern = re.compile(re.escape(file_beside(output, "").name) + r"-\d+-of-(\d+)" + re.escape(suffix))
    return {path: int(found[1]) for path in sorted(output.parent.iterdir()) if (found := pattern.fullmatch(path.name))}


def read_shards(output: Path) -> StoredResults:
    """The results of all shards of a submission, by file name.

    Raises BadInputError if there are no shards, if one is damaged, or if their number or settings differ.
    """
    shards, name = shard_files(output, ".jsonl"), file_beside(output, "").name
    if not shards:
        raise BadInputError(f"{output.parent} holds no shards of {name}, such as {name}-0-of-8.jsonl")
    if len(counts := sorted(set(shards.values()))) > 1:
        several = " and ".join(map(str, counts))
        raise BadInputError(f"{output.parent} mixes shards of {name} from runs of {several}: keep those of one run")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the files stay open, and there may be thousands
    results = read_results(*shards)
    if len({result.run for result in results.values()}) > 1:
        raise BadInputError(f"the shards of {output} were scored with different members, weights or options")
    return results


def main() -> int:
    """Merge; return 1 if a video could not be read, else 0."""
    parser = command_parser(__doc__)
    parser.add_argument("inputs", nargs="*", type=Path, metavar="VIDEO_FOLDER_OR_PATTERN")
    add_selection(parser)
    parser.add_argument(
        "--evidence", type=Path, metavar="DIR", help="as given to the shards; its index.html is written"
    )
    parser.add_argument("--output", type=Path, default=Path("submission.csv"), metavar="CSV")
    options = parser.parse_args()
    shards = read_shards(options.output)
    videos = find_videos(options.inputs, options.list, options.videos, options.recursive)
    names = list(videos.videos)
    if missing := [name for name in names if name not in shards]:
        examples = ", ".join(missing[:SHOWN])
        raise BadInputError(
            f"{len(missing)} of {len(names)} videos have no row yet, such as {examples}: run their shards again"
        )
    results = write_submission(options.output, (shards[name] for name in names)).values()
    write_verdicts(options.output, results)
    if options.evidence:
        from inference.evidence.pages import write_index

        write_index(options.evidence, results)
    for ledger in shard_files(options.output, ".partial.jsonl"):
        if ledger.with_name(ledger.name.replace(".partial.jsonl", ".jsonl")).is_file():  # the shard is done
            ledger.unlink()
    print(f"merge: {statuses(results)}; {options.output}{videos.note}")
    return exit_status(results)


if __name__ == "__main__":
    run_script(main)
