"""Score a public data set and report the field's measures, after a check of the copy.

Reads  a data set as it is distributed (quality.sets.layouts): ffpp, dfd, celebdf1, celebdf2, celebdf3, dfdc, dfdcp,
       df40; a `folder` with real/ and fake/; a `csv`, which is a folder with labels.csv; or `deepfakebench`,
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

If it is killed, run it again and it goes on. With --shard i/n, or in a Slurm array, it scores every n-th video; run it
without --shard when all are done.

Where there is a mask video of a fake, the face that it marks is scored.

    python -m quality.benchmark ffpp --root FaceForensics --compression c23 --check
    python -m quality.benchmark celebdf2 --root Celeb-DF-v2 --split test --protocols
    python -m quality.benchmark ffpp --root FaceForensics --detector theirs.py   # def predict(path: str) -> float
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from common.command import command_parser, parse_shard, positive, run_script, wanted_shard
from common.errors import BadInputError
from common.files import write_table, write_text
from common.spread import spread
from common.status import UNREADABLE, Status
from inference.results import Result
from inference.settings import Settings, add_options
from quality.measures import THRESHOLD
from quality.protocols import explain, protocol_aucs
from quality.protocols import table as protocol_table
from quality.report import SCHEMA, draw, mask_table, report_of, scored_videos, table
from quality.score_files import ScoreRow, write_gend_scores, write_json, write_scores
from quality.score_items import score_items
from quality.sets.check import Finding, check_copy, describe_counts, faceless
from quality.sets.items import COMPRESSIONS, SPLITS, Item, Variant
from quality.sets.layouts import LAYOUTS, extra_videos, read_items

PROTOCOL = "video: the reference's policy over faces and groups; frame: groups of five frames of one face"


def select(items: Sequence[Item], split: str, manipulations: Sequence[str] | None, most: int | None) -> list[Item]:
    """The items of a split: real videos and those of some manipulations, at most `most`, evenly spread over the list.

    `split` may be "all"; None means no limit. Raises BadInputError if nothing is left, and says what there is.
    """
    splits = sorted({item.split for item in items})
    of_split = [item for item in items if split in ("all", item.split)]
    if not of_split:
        raise BadInputError(f"no video is in the split {split}; there are {', '.join(splits) or 'no videos at all'}")
    known = sorted({item.manipulation for item in of_split} - {""})
    if manipulations is not None:
        if unknown := set(manipulations) - set(known):
            raise BadInputError(f"unknown manipulations {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        of_split = [item for item in of_split if item.manipulation in ("", *manipulations)]
    in_order = sorted(of_split, key=lambda item: (item.manipulation, item.key))
    return in_order if most is None else [in_order[index] for index in spread(len(in_order), most)]


def find_problems(options: argparse.Namespace, items: Sequence[Item], everything: Sequence[Item]) -> list[Finding]:
    """Check the copy; print and return what is wrong with it."""
    compression = COMPRESSIONS[options.compression][-1]
    fetch = LAYOUTS[options.set].fetch.format(root=options.root, compression=compression)
    extra = extra_videos(options.set, options.root, options.compression, everything)
    findings = check_copy(options.root, items, everything, extra, fetch, options.workers)
    print_findings(findings)
    return findings


def print_findings(findings: Sequence[Finding]) -> None:
    """Print what is wrong with the copy."""
    for finding in findings:
        print(f"benchmark: {finding}")


def write_check(folder: Path, findings: Sequence[Finding]) -> None:
    """Write check.json."""
    write_json(folder / "check.json", [asdict(finding) for finding in findings])


def refuse_absent(items: Sequence[Item], everything: Sequence[Item], root: Path, compression: str) -> None:
    """Raise BadInputError if none of the items' files exists: the root, the compression or the split is wrong."""
    if any(is_present(item, root) for item in items):
        return
    message = f"none of the {len(items)} videos is below {root}, such as {items[0].key}; "
    other = next((item for item in everything if is_present(item, root)), None)
    if other:
        raise BadInputError(f"{message}{other.key} is in {other.split}: --split {other.split}")
    raise BadInputError(f"{message}is --root right, and is the copy's compression {compression}?")


def is_present(item: Item, root: Path) -> bool:
    """Whether an item's file is there, or one of its precropped faces."""
    return any((root / name).is_file() for name in item.frames or (item.key,))


def describe_selection(options: argparse.Namespace, items: Sequence[Item]) -> dict[str, Any]:
    """Which videos are measured, as benchmark.json holds it."""
    return {
        "dataset": options.set,
        "root": str(options.root.resolve()),
        "split": options.split,
        "compression": options.compression if LAYOUTS[options.set].compressed else "",
        "manipulations": sorted({item.manipulation for item in items} - {""}),
        "all_manipulations": options.manipulation is None,
        "max_videos": options.max_videos,
        "videos": len(items),
    }


def claim_folder(folder: Path, selection: Mapping[str, Any]) -> None:
    """Record which videos the folder is for. Raises BadInputError if it is for others, whose results would be lost."""
    file = folder / "of.json"
    if file.is_file() and (before := json.loads(file.read_text(encoding="utf-8"))) != selection:
        changed = ", ".join(f"{name} {before.get(name)}" for name in selection if before.get(name) != selection[name])
        raise BadInputError(f"{folder} holds a benchmark of other videos ({changed}): choose another --output")
    write_json(file, dict(selection))


def write_score_files(
    folder: Path, dataset: str, compression: str, items: Sequence[Item], results: Mapping[str, Result]
) -> None:
    """Write scores.csv and scores_gend.csv, and truth.csv for quality.evaluate and quality.compare."""
    rows = [
        ScoreRow(
            dataset,
            item.key,
            compression,
            item.label,
            result.label if result.status == Status.OK else None,
            result.status,
        )
        for item, result in ((item, results[item.key]) for item in items)
    ]
    write_scores(folder / "scores.csv", rows)
    write_gend_scores(folder / "scores_gend.csv", rows)
    truth = [(item.key, item.label, item.original, item.manipulation) for item in items]
    write_table(folder / "truth.csv", [("filename", "label", "original", "subset"), *truth])


def write_report(folder: Path, items: Sequence[Item], results: Mapping[str, Result], described: dict[str, Any]) -> None:
    """Measure, print the table, and write it; `described` says which videos were scored, and how."""
    report = report_of(items, results, described["rounds"])
    write_json(folder / "benchmark.json", described | report)
    write_json(folder / "scores.json", described | {"coverage": report["coverage"]})
    write_score_files(folder, described["dataset"], described["compression"], items, results)
    tables = "\n\n".join(filter(None, (table(report), mask_table(items, results))))
    write_text(folder / "benchmark.md", tables + "\n")
    draw(folder / "roc.png", scored_videos(items, results))
    print(f"\n{tables}\n")


def write_protocols(
    folder: Path, items: Sequence[Item], results: Mapping[str, Result], published: float | None
) -> None:
    """Print and write the AUC by each protocol; print how they explain the difference from a published AUC."""
    aucs = protocol_aucs(items, results)
    write_text(folder / "protocols.md", protocol_table(aucs) + "\n")
    print(f"{protocol_table(aucs)}\n")
    if published is not None:
        print(f"{explain(aucs, published)}\n")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = command_parser(__doc__)
    parser.add_argument("set", choices=LAYOUTS, metavar="SET", help=", ".join(LAYOUTS))
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of the data set")
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
        "--detector", type=Path, metavar="FILE.py", help="score with its predict(path) -> float instead of the members"
    )
    parser.add_argument("--rounds", type=positive, default=1000, help="of the bootstrap (default: 1000)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: benchmark/SET")
    parser.add_argument("--shard", type=parse_shard, metavar="i/n", help="default: the Slurm array's, else all")
    add_options(parser)
    return parser.parse_args()


def main() -> int:
    """Check, score, measure, write; return 1 if the list is incomplete or a video could not be read."""
    options = parse_arguments()
    folder: Path = options.output or Path("benchmark") / options.set
    shard = wanted_shard(options.shard)
    everything = read_items(options.set, options.root, Variant(options.compression, options.json))
    manipulations = options.manipulation.split(",") if options.manipulation else None
    items = select(everything, options.split, manipulations, options.max_videos)
    print(f"benchmark: {LAYOUTS[options.set].title}, {options.split}: {describe_counts(items)}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    findings = list[Finding]()
    if shard is None or options.check:
        findings = find_problems(options, items, everything)
        write_check(folder, findings)
    incomplete = any(finding.breaks for finding in findings)
    if options.check:
        print(f"benchmark: the list is {'incomplete' if incomplete else 'complete'}; {folder / 'check.json'}")
        return int(incomplete)
    refuse_absent(items, everything, options.root, options.compression)
    selection = describe_selection(options, items)
    claim_folder(folder, selection)
    results, scored_by = score_items(
        items, options.root, Settings.of(options), folder / "submission.csv", shard, options.detector
    )
    if shard:
        print(f"benchmark: shard {shard} is scored; run it without --shard when all are")
        return 0
    if without_face := faceless(items, results):
        print_findings(without_face)
        write_check(folder, [*findings, *without_face])
    described = {
        "schema": SCHEMA,
        "threshold": THRESHOLD,
        "protocol": PROTOCOL,
        "rounds": options.rounds,
        "run": scored_by,
    }
    write_report(folder, items, results, selection | described)
    if options.protocols or options.explain is not None:
        write_protocols(folder, items, results, options.explain)
    unreadable = sum(result.status in UNREADABLE for result in results.values())
    print(f"benchmark: {len(items)} videos, {unreadable} could not be read; {folder / 'benchmark.json'}")
    return int(incomplete or unreadable > 0)


if __name__ == "__main__":
    run_script(main)
