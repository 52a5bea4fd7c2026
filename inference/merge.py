"""Merge the submissions of all shards of `inference.predict` into one.

Reads  submission-<i>-of-<n>.jsonl beside --output, and the same videos or --list as the shards did
Writes submission.csv and submission.jsonl, in the order of the input; with --evidence the index.html of all videos

The exit status is 1 if a video could not be read. If a video has no row yet, it is 2 and nothing is written.

    python -m inference.merge --list sample_submission.csv --output submission.csv
"""

import argparse
import re
from pathlib import Path

from common.command import run_script
from common.errors import BadInputError
from inference.evidence.pages import write_index
from inference.inputs import find_videos
from inference.rows import Row, exit_status, read_rows, statuses, write_submission, write_verdicts

SHOWN = 5


def shard_files(output: Path, suffix: str) -> dict[Path, int]:
    """The files of a submission's shards with this ending, each with its number of shards.

    Files of another submission such as `<stem>-more.csv` are not among them.
    """
    pattern = re.compile(re.escape(output.stem) + r"-\d+-of-(\d+)" + re.escape(suffix))
    return {path: int(found[1]) for path in sorted(output.parent.iterdir()) if (found := pattern.fullmatch(path.name))}


def read_shards(output: Path) -> dict[str, Row]:
    """The rows of all shards of a submission by file name.

    Raises BadInputError if there are no shards, or shards of different numbers, members, weights or options.
    """
    shards = shard_files(output, ".jsonl")
    counts = len(set(shards.values()))
    if counts != 1:
        raise BadInputError(f"{output.parent} holds shards of {counts} shardings of {output.stem}: keep those of one")
    rows = [row for shard in shards for row in read_rows(shard)]
    if len({row.run for row in rows}) > 1:
        raise BadInputError(f"the shards of {output} were scored with different members, weights or options")
    return {row.filename: row for row in rows}


def main() -> int:
    """Merge; return 1 if a video could not be read, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="*", type=Path, metavar="VIDEO_FOLDER_OR_PATTERN")
    parser.add_argument("--list", type=Path, metavar="CSV", help="as given to the shards")
    parser.add_argument(
        "--videos", type=Path, default=Path("test_videos"), metavar="DIR", help="as given to the shards"
    )
    parser.add_argument("--evidence", type=Path, metavar="DIR", help="as given to the shards: write its index.html")
    parser.add_argument("--output", type=Path, default=Path("submission.csv"), metavar="CSV")
    options = parser.parse_args()
    shards = read_shards(options.output)
    found = find_videos(options.inputs, options.list, options.videos)
    names = list(found.videos)
    if missing := [name for name in names if name not in shards]:
        some = ", ".join(missing[:SHOWN])
        raise BadInputError(
            f"{len(missing)} of {len(names)} videos have no row yet, such as {some}: run their shards again"
        )
    rows = [shards[name] for name in names]
    write_submission(options.output, rows)
    write_verdicts(options.output, rows)
    if options.evidence:
        write_index(options.evidence, names)
    for ledger in shard_files(options.output, ".partial.jsonl"):
        ledger.unlink()
    print(f"merge: {statuses(rows)}; {options.output}{found.said}")
    return exit_status(rows)


if __name__ == "__main__":
    run_script(main)
