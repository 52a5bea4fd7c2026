"""Benchmark one data set with one detector: check the copy, select, score, measure, write."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.command import wanted_shard
from common.errors import BadInputError
from common.files import file_beside, write_table, write_text
from common.spread import spread
from common.status import UNREADABLE, Status
from inference.ledger import LEDGER
from inference.results import Result
from inference.settings import Settings
from quality.measures import THRESHOLD, few_originals
from quality.protocols import explain, protocol_aucs
from quality.protocols import table as protocol_table
from quality.report import SCHEMA, draw, mask_table, report_of, scored_videos, table
from quality.score_files import ScoreRow, write_gend_scores, write_json, write_scores
from quality.score_items import score_items
from quality.sets.check import Finding, check_copy, describe_counts, faceless
from quality.sets.items import COMPRESSIONS, Item, Variant
from quality.sets.layouts import LAYOUTS, extra_videos, read_items

PROTOCOL = "video: the reference's policy over faces and groups; frame: groups of five frames of one face"


@dataclass(frozen=True)
class Job:
    """A data set, the detector that scores it, and the folder of the output."""

    set: str  # of LAYOUTS
    root: Path
    detector: Path | None  # None: the members
    folder: Path

    @property
    def submission(self) -> Path:
        """Where the scores go."""
        return self.folder / "submission.csv"


class Outcome(NamedTuple):
    """The exit status, and the content of benchmark.json; None if nothing was measured."""

    status: int
    report: dict[str, Any] | None = None


def run_job(job: Job, options: argparse.Namespace) -> Outcome:
    """Check, score, measure, write; the status is 1 if the list is incomplete or a video could not be read.

    What was scored is kept until `forget_scores`. Raises BadInputError or OSError if the set cannot be measured.
    """
    shard = wanted_shard(options.shard)
    everything = read_items(job.set, job.root, Variant(options.compression, options.json))
    manipulations = options.manipulation.split(",") if options.manipulation else None
    items = select(everything, options.split, manipulations, options.max_videos)
    print(f"benchmark: {LAYOUTS[job.set].title}, {options.split}: {describe_counts(items)}", flush=True)
    job.folder.mkdir(parents=True, exist_ok=True)
    findings = list[Finding]()
    if shard is None or options.check:
        findings = find_problems(job, options, items, everything)
        write_check(job.folder, findings)
    incomplete = any(finding.breaks for finding in findings)
    if options.check:
        print(f"benchmark: the list is {'incomplete' if incomplete else 'complete'}; {job.folder / 'check.json'}")
        return Outcome(int(incomplete))
    refuse_absent(items, everything, job.root, options.compression)
    selection = describe_selection(job, options, items)
    claim_folder(job.folder, selection)
    settings = Settings.of(options)
    results, scored_by = score_items(items, job.root, settings, job.submission, shard, job.detector)
    if shard:
        print(f"benchmark: shard {shard} is scored; run it without --shard when all are")
        return Outcome(0)
    if without_face := faceless(items, results):
        print_findings(without_face)
        write_check(job.folder, [*findings, *without_face])
    described = {
        "schema": SCHEMA,
        "threshold": THRESHOLD,
        "protocol": PROTOCOL,
        "rounds": options.rounds,
        "run": scored_by,
    }
    report = write_report(job.folder, items, results, selection | described)
    if options.protocols or options.explain is not None:
        write_protocols(job.folder, items, results, options.explain)
    unreadable = sum(result.status in UNREADABLE for result in results.values())
    print(f"benchmark: {len(items)} videos, {unreadable} could not be read; {job.folder / 'benchmark.json'}")
    return Outcome(int(incomplete or unreadable > 0), report)


def forget_scores(job: Job) -> None:
    """Remove what a run goes on from: its scores are in the submission, and the next run scores again."""
    file_beside(job.submission, LEDGER).unlink(missing_ok=True)


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


def find_problems(
    job: Job, options: argparse.Namespace, items: Sequence[Item], everything: Sequence[Item]
) -> list[Finding]:
    """Check the copy; print and return what is wrong with it."""
    compression = COMPRESSIONS[options.compression][-1]
    fetch = LAYOUTS[job.set].fetch.format(root=job.root, compression=compression)
    extra = extra_videos(job.set, job.root, options.compression, everything)
    findings = check_copy(job.root, items, everything, extra, fetch, options.workers)
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


def describe_selection(job: Job, options: argparse.Namespace, items: Sequence[Item]) -> dict[str, Any]:
    """Which videos are measured, as benchmark.json holds it."""
    return {
        "dataset": job.set,
        "root": str(job.root.resolve()),
        "split": options.split,
        "compression": options.compression if LAYOUTS[job.set].compressed else "",
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


def write_report(
    folder: Path, items: Sequence[Item], results: Mapping[str, Result], described: dict[str, Any]
) -> dict[str, Any]:
    """Measure, print the table, write it, and return it; `described` says which videos were scored, and how."""
    print(f"benchmark: measuring, with {described['rounds']} rounds of the bootstrap", flush=True)
    measured = report_of(items, results, described["rounds"])
    report = described | measured
    write_json(folder / "benchmark.json", report)
    write_json(folder / "scores.json", described | {"coverage": measured["coverage"]})
    write_score_files(folder, described["dataset"], described["compression"], items, results)
    warning = few_originals(np.array([item.original for item in items]))
    tables = "\n\n".join(filter(None, (table(measured), warning, mask_table(items, results))))
    write_text(folder / "benchmark.md", tables + "\n")
    draw(folder / "roc.png", scored_videos(items, results))
    print(f"\n{tables}\n")
    return report


def write_protocols(
    folder: Path, items: Sequence[Item], results: Mapping[str, Result], published: float | None
) -> None:
    """Print and write the AUC by each protocol; print how they explain the difference from a published AUC."""
    aucs = protocol_aucs(items, results)
    write_text(folder / "protocols.md", protocol_table(aucs) + "\n")
    print(f"{protocol_table(aucs)}\n")
    if published is not None:
        print(f"{explain(aucs, published)}\n")
