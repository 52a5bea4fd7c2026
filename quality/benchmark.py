"""Score public data sets and report the field's measures, after a check of the copies.

Reads  data sets as they are distributed (quality.sets.layouts): ffpp, dfd, celebdf1, celebdf2, celebdf3, dfdc, dfdcp,
       kodf, df40; a `folder` with real/ and fake/; a `csv`, which is a folder with labels.csv; or `deepfakebench`,
       precropped faces with DeepfakeBench's JSON
Writes DIR/benchmark.json     overall and by manipulation: each measure as [value, low, high] with its 95% interval
       DIR/benchmark.md       the same as a table, the worst manipulation first
       DIR/protocols.md       with --protocols: the AUC of the same scores by other protocols
       DIR/scores.csv         dataset,key,compression,label,score,status; no video is left out; scores.json beside it
       DIR/scores_gend.csv    the same in GenD's columns
       DIR/truth.csv          filename,label,original,subset, for quality.evaluate and quality.compare
       DIR/of.json            which videos: another set, root, split or compression needs another --output
       DIR/roc.png            a curve for each manipulation against all real videos
       DIR/check.json         what is wrong with the copy
       DIR/submission.csv and .jsonl, as inference.predict writes them

The check runs first, and alone with --check: missing, empty, unreadable and extra files, splits that share originals
or persons, the same content under two labels, inverted labels. The exit status is then 1 if files of the official list
are missing. A video without a score counts as 0.5 (`overall`), and is left out in `overall_scored`.

With several sets, each has its folder in DIR: DIR/SET, or DIR/DETECTOR/SET with several detectors. DIR/sets.csv and
DIR/sets.md then hold a table of all: the AUC of each detector on each set, and the mean. A set that cannot be measured
is named in the table and leaves the others as they are; the exit status is then 2.

If it is killed, or if one of several sets could not be measured, run it again and it goes on. With --shard i/n, or in a
Slurm array, it scores every n-th video; run it without --shard when all are done.

Where there is a mask video of a fake, the face that it marks is scored.

    python -m quality.benchmark ffpp --root FaceForensics --compression c23 --check
    python -m quality.benchmark celebdf2 --root Celeb-DF-v2 --split test --protocols
    python -m quality.benchmark ffpp --root FaceForensics --detector theirs.py   # def predict(path: str) -> float
    python -m quality.benchmark ffpp celebdf2 --root sets           # in sets/ffpp and sets/celebdf2
    python -m quality.benchmark ffpp celebdf2 --root ffpp=FaceForensics --root celebdf2=Celeb-DF-v2
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from common.command import command_parser, parse_shard, positive, run_script
from common.errors import BadInputError
from inference.settings import add_options
from quality.benchmark_set import Job, Outcome, forget_scores, run_job
from quality.sets.items import COMPRESSIONS, SPLITS
from quality.sets.layouts import LAYOUTS
from quality.sets_table import Row, write_sets_table

MEMBERS = "members"  # their name among the detectors


def roots_of(sets: Sequence[str], given: Sequence[str]) -> dict[str, Path]:
    """The folder of each set, by the words after --root.

    `SET=DIR` is a set's folder. One DIR may be the folder of the others: of a single set its own, of several sets the
    one that holds a folder for each by its name. Raises BadInputError for a set without a folder, or a folder too many.
    """
    named, others = dict[str, Path](), list[Path]()
    for word in given:
        name, is_named, folder = word.partition("=")
        if is_named and name in LAYOUTS:
            named[name] = Path(folder)
        else:
            others.append(Path(word))
    left = [name for name in sets if name not in named]
    if named.keys() - set(sets) or len(others) != bool(left):
        each = f"SET=DIR for each of {', '.join(sets)}, or one DIR that holds {', '.join(f'{name}/' for name in sets)}"
        raise BadInputError(f"--root {' '.join(given)}: give {each if len(sets) > 1 else 'one folder'}")
    return {name: named[name] if name in named else others[0] / (name if len(sets) > 1 else "") for name in sets}


def jobs_of(options: argparse.Namespace) -> list[Job]:
    """Every set by every detector, with the folder of the output. Raises BadInputError as `roots_of` does."""
    sets = list(dict.fromkeys(options.sets))
    roots, detectors = roots_of(sets, options.root), options.detector or [None]
    names = [name_of(detector) for detector in detectors]
    if len(set(names)) < len(names):
        raise BadInputError(f"--detector: two have the same name, of {', '.join(names)}: rename a file")
    several = [len(detectors) > 1, len(sets) > 1]
    if not any(several):
        folder = options.output or Path("benchmark") / sets[0]
        return [Job(sets[0], roots[sets[0]], detectors[0], folder)]
    return [
        Job(name, roots[name], detector, base_of(options) / (name_of(detector) if several[0] else "") / name)
        for detector in detectors
        for name in sets
    ]


def base_of(options: argparse.Namespace) -> Path:
    """The folder of several sets' outputs, and of their table."""
    folder: Path = options.output or Path("benchmark")
    return folder


def name_of(detector: Path | None) -> str:
    """A detector's name in the table."""
    return detector.stem if detector else MEMBERS


def parse_detector(text: str) -> Path | None:
    """An argparse type: a detector's file, or None for the members."""
    return None if text == MEMBERS else Path(text)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = command_parser(__doc__)
    parser.add_argument("sets", nargs="+", choices=LAYOUTS, metavar="SET", help=", ".join(LAYOUTS))
    parser.add_argument(
        "--root",
        action="append",
        required=True,
        metavar="DIR",
        help="folder of the data set; of several: one that holds a folder SET for each, or SET=DIR once for each",
    )
    parser.add_argument("--split", choices=(*SPLITS, "all"), default="test", help="default: test")
    parser.add_argument("--manipulation", metavar="A,B", help="default: all of them")
    parser.add_argument(
        "--compression", choices=COMPRESSIONS, default="c23", help="of ffpp, dfd, df40, deepfakebench (default: c23)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="list of deepfakebench (default: the only one in the root)"
    )
    parser.add_argument("--max-videos", type=positive, metavar="N", help="evenly spread over the list")
    parser.add_argument("--check", action="store_true", help="only check the copy")
    parser.add_argument("--protocols", action="store_true", help="also the AUC by other protocols")
    parser.add_argument(
        "--explain", type=float, metavar="AUC", help="a published AUC: how much of the difference protocols explain"
    )
    parser.add_argument(
        "--detector",
        type=parse_detector,
        action="append",
        metavar="FILE.py",
        help=f"score with its predict(path) -> float instead of the members; may be repeated, also with `{MEMBERS}`",
    )
    parser.add_argument("--rounds", type=positive, default=1000, help="of the bootstrap (default: 1000)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: benchmark/SET; of several: benchmark")
    parser.add_argument("--shard", type=parse_shard, metavar="i/n", help="default: the Slurm array's, else all")
    add_options(parser)
    return parser.parse_args()


def run_jobs(jobs: Sequence[Job], options: argparse.Namespace) -> list[Outcome]:
    """Run several jobs, whatever becomes of each, and write their table after each."""
    rows = {job: Row(name_of(job.detector), job.set, None, "not measured yet") for job in jobs}
    outcomes, text = list[Outcome](), ""
    for job in jobs:
        print(f"\nbenchmark: {job.set} by {rows[job].detector}, in {job.folder}", flush=True)
        try:
            outcomes.append(run_job(job, options))
            rows[job] = rows[job]._replace(report=outcomes[-1].report)
        except (BadInputError, OSError) as error:
            print(f"benchmark: error: {job.set}: {error}", file=sys.stderr)
            outcomes.append(Outcome(2))
            rows[job] = rows[job]._replace(reason=f"could not be measured: {error}")
        if any(row.report for row in rows.values()):
            text = write_sets_table(base_of(options), list(rows.values()))
    if text:
        print(f"\n{text}\n")
    failed = sum(outcome.status == 2 for outcome in outcomes)
    print(f"benchmark: {len(jobs)} benchmarks, {failed} could not be measured; {base_of(options)}")
    return outcomes


def main() -> int:
    """Benchmark every set by every detector; return the highest exit status."""
    options = parse_arguments()
    jobs = jobs_of(options)
    outcomes = run_jobs(jobs, options) if len(jobs) > 1 else [run_job(jobs[0], options)]
    if all(outcome.report for outcome in outcomes):
        for job in jobs:
            forget_scores(job)
    return max(outcome.status for outcome in outcomes)


if __name__ == "__main__":
    run_script(main)
