"""Put the parts of a sharded `inference.predict` together.

Reads  submission-<i>-of-<n>.jsonl beside --output, and the same videos or --list as the shards did
Writes submission.csv and submission.jsonl, in the order of the input

The exit status is 1 if a video could not be read; if one has no row yet nothing is written, and it is 2.

    python -m inference.merge --list sample_submission.csv --output submission.csv
"""

import argparse
import json
from collections import Counter
from pathlib import Path

from common.errors import BadInputError
from common.stage import run_script
from inference.inputs import find_videos
from inference.predict import write_submission
from inference.rows import FAILED, Row

SHOWN = 5


def read_parts(output: Path) -> dict[str, Row]:
    """The rows of all parts of a submission by file name, of shards of one number. Raises BadInputError."""
    parts = sorted(output.parent.glob(f"{output.stem}-*-of-*.jsonl"))
    parts = [part for part in parts if not part.name.endswith(".partial.jsonl")]
    counts = {part.stem.rpartition("-of-")[2] for part in parts}
    if len(counts) != 1:
        raise BadInputError(f"{output.parent} holds parts of {len(counts)} shardings of {output.stem}: keep those of one")
    lines = [line for part in parts for line in part.read_text(encoding="utf-8").splitlines()]
    return {row["filename"]: row for row in map(json.loads, lines)}


def main() -> int:
    """Merge; 1 if a video could not be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="*", type=Path, metavar="VIDEO_FOLDER_OR_PATTERN")
    parser.add_argument("--list", type=Path, metavar="CSV", help="as given to the shards")
    parser.add_argument("--videos", type=Path, default=Path("test_videos"), metavar="DIR", help="as given to the shards")
    parser.add_argument("--output", type=Path, default=Path("submission.csv"), metavar="CSV")
    options = parser.parse_args()
    rows = read_parts(options.output)
    names = list(find_videos(options.inputs, options.list, options.videos))
    if missing := [name for name in names if name not in rows]:
        some = ", ".join(missing[:SHOWN])
        raise BadInputError(f"{len(missing)} of {len(names)} videos have no row yet, such as {some}: run their shards again")
    write_submission(options.output, [rows[name] for name in names])
    statuses = Counter(rows[name]["status"] for name in names)
    print(f"merge: {', '.join(f'{count} {status}' for status, count in statuses.items())}; {options.output}")
    return 1 if any(statuses[status] for status in FAILED) else 0


if __name__ == "__main__":
    run_script(main)
