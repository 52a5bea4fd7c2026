"""Score a public data set and measure what is usual in this field, after a check of the copy.

Reads  a data set as it is distributed (quality.sets.layouts): ffpp, dfd, celebdf1, celebdf2, celebdf3, dfdc, dfdcp,
       df40; a `folder` with real/ and fake/; a `csv`, which is a folder with labels.csv; or `deepfakebench`, ready-made
       crops with DeepfakeBench's JSON
Writes DIR/benchmark.json     overall and by manipulation: each measure as [value, low, high] with its 95 % interval
       DIR/benchmark.md       the same as a table, the worst manipulation first
       DIR/protocols.md       with --protocols: the AUC as others would report it from the same scores
       DIR/scores.csv         dataset,key,compression,label,score,status; no video is dropped; scores.json beside it
       DIR/scores_gend.csv    the same in GenD's columns
       DIR/truth.csv          filename,label,original,subset, for quality.evaluate and quality.compare
       DIR/of.json            which videos: another set, root, split or compression needs another --output
       DIR/roc.png            a curve for each manipulation against all reals
       DIR/check.json         what is wrong with the copy
       DIR/submission.csv and .jsonl, as inference.predict writes them

The check runs first, and alone with --check: missing, empty, unreadable and extra files, splits that share originals
or persons, one content under two labels, labels turned round. The exit status is then 1 if the official list is not
whole. A video without a score counts as .5 (`overall`), and is left out (`overall_scored`).

If it is killed, run it again and it goes on. With --shard i/n, or in a Slurm array, it scores every n-th video; run it
without --shard when all are done.

Where a mask video of a fake is at hand, the face that it marks is scored.

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

from common.command import Shard, parse_shard, positive, run_script, wanted_shard
from common.errors import BadInputError
from common.files import write_table, write_text
from common.spread import spread
from common.status import UNREADABLE, Status
from inference.evidence.collect import provenance_of
from inference.merge import read_shards, shard_files
from inference.predict import score_videos, shard_output
from inference.results import Result, write_submission, write_verdicts
from inference.run import Output, same_file, sources_of, state_of
from inference.scorer import Video
from inference.settings import Settings, add_options, resolve
from quality import protocols
from quality.evaluate import without_nan
from quality.external import load_detector, score_by
from quality.masks import ByMask
from quality.measures import THRESHOLD
from quality.report import draw, mask_table, report_of, scored_videos, table
from quality.score_files import Scored, write_gend, write_scored
from quality.sets.check import Finding, counts, examine, faceless
from quality.sets.layouts import COMPRESSIONS, LAYOUTS, How, Item, extra, read_items
from quality.sets.precropped import score_ready

SPLITS = ("train", "val", "test")


def select(items: Sequence[Item], split: str, manipulations: Sequence[str] | None, most: int | None) -> list[Item]:
    """The items of a split, the reals and some manipulations, at most so many, spread evenly over the list.

    Raises BadInputError if nothing is left, naming what there is.
    """
    splits = sorted({item.split for item in items})
    of_split = [item for item in items if split in ("all", item.split)]
    if not of_split:
        raise BadInputError(f"no video is of the split {split}; there are {', '.join(splits) or 'no videos at all'}")
    known = sorted({item.manipulation for item in of_split} - {""})
    if manipulations is not None:
        if unknown := set(manipulations) - set(known):
            raise BadInputError(f"unknown manipulations {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        of_split = [item for item in of_split if item.manipulation in ("", *manipulations)]
    in_order = sorted(of_split, key=lambda item: (item.manipulation, item.key))
    return in_order if most is None else [in_order[place] for place in spread(len(in_order), most)]


def videos_of(items: Sequence[Item], root: Path) -> list[Video]:
    """The items' videos, to be scored; where a mask of a fake is at hand, it chooses the face."""
    videos = []
    for item in items:
        mask = root / item.mask if item.mask else None
        if mask and mask.is_file():
            videos.append(Video(item.key, root / item.key, ByMask(mask), (mask,)))
        else:
            videos.append(Video(item.key, root / item.key))
    return videos


def score(videos: Sequence[Video], settings: Settings, output: Path, shard: Shard | None) -> list[Result]:
    """Score videos, or those of a shard; results that shards left are taken over if they could be read.

    Raises BadInputError as `results_of_shards` does.
    """
    if shard:
        of_shard = list(shard.of({video.name: video for video in videos}).values())
        return score_videos(of_shard, settings, Output(shard_output(output, shard), is_shard=True))
    known = results_of_shards(output, settings, videos)
    left = [video for video in videos if video.name not in known]
    scored = score_videos(left, settings, Output(output)) if left else []
    known |= {result.filename: result for result in scored}
    results = [known[video.name] for video in videos]
    if len(left) < len(videos):
        write_submission(output, results)
        write_verdicts(output, results)
    return results


def results_of_shards(output: Path, settings: Settings, videos: Sequence[Video]) -> dict[str, Result]:
    """The results that shards left, by video, but those whose files changed since, or could not be read.

    Raises BadInputError for shards of other members, weights or options.
    """
    known = read_shards(output) if shard_files(output, ".jsonl") else {}
    if known and any(result.run != resolve(settings).digest for result in known.values()):
        raise BadInputError(f"the shards of {output} were scored with other members, weights or options")
    states = {
        name: state
        for ledger in (shard_files(output, ".partial.jsonl") if known else ())
        for name, state in sources_of(ledger).items()
    }
    same = {video.name for video in videos if same_file(states.get(video.name), state_of(video))}
    return {name: result for name, result in known.items() if name in same and result.status not in UNREADABLE}


def by_detector(
    file: Path, items: Sequence[Item], root: Path, folder: Path
) -> tuple[dict[str, Result], dict[str, Any]]:
    """Rows by another detector, and what it was; the rows of an earlier, killed run by the same file stay."""
    detector = load_detector(file)
    paths = {item.key: root / item.key for item in items}
    return score_by(detector, paths, folder / "submission.csv"), {"detector": str(file), "sha256": detector.digest}


def refuse_absent(items: Sequence[Item], root: Path, compression: str) -> None:
    """Raise BadInputError if nothing of the items is on disk: the root or the compression is another one."""
    names = [name for item in items for name in (item.frames or (item.key,))]
    if not any((root / name).is_file() for name in names):
        raise BadInputError(
            f"none of the {len(items)} videos is below {root}, such as {names[0]}; is --root right, "
            f"and is the copy's compression {compression}?"
        )


def how_of(options: argparse.Namespace, items: Sequence[Item]) -> dict[str, Any]:
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


def refuse_other(folder: Path, how: Mapping[str, Any]) -> None:
    """Note which videos the folder is for. Raises BadInputError if it is for others: their results would be lost."""
    file = folder / "of.json"
    if file.is_file() and (before := json.loads(file.read_text(encoding="utf-8"))) != how:
        changed = ", ".join(f"{name} {before.get(name)}" for name in how if before.get(name) != how[name])
        raise BadInputError(f"{folder} holds a benchmark of other videos ({changed}): choose another --output")
    write_text(file, json.dumps(how, indent=1) + "\n")


def write_check(folder: Path, findings: Sequence[Finding], before: Sequence[Finding] = ()) -> bool:
    """Print and write what is wrong with the copy, after what was said before; return whether the list is not whole."""
    for finding in findings:
        print(f"benchmark: {finding}")
    everything = [asdict(finding) for finding in (*before, *findings)]
    write_text(folder / "check.json", json.dumps(everything, indent=1) + "\n")
    return any(finding.breaks for finding in findings)


def write_scores(
    folder: Path, dataset: str, compression: str, items: Sequence[Item], rows: Mapping[str, Result]
) -> None:
    """Write scores.csv and scores_gend.csv, and truth.csv for quality.evaluate and quality.compare."""
    scored = [
        Scored(dataset, item.key, compression, item.label, row.label if row.status == Status.OK else None, row.status)
        for item in items
        for row in [rows[item.key]]
    ]
    write_scored(folder / "scores.csv", scored)
    write_gend(folder / "scores_gend.csv", scored)
    truth = [(item.key, item.label, item.original, item.manipulation) for item in items]
    write_table(folder / "truth.csv", [("filename", "label", "original", "subset"), *truth])


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=LAYOUTS, metavar="SET", help=", ".join(LAYOUTS))
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="where the data set lies")
    parser.add_argument("--split", choices=(*SPLITS, "all"), default="test", help="default: test")
    parser.add_argument("--manipulation", metavar="A,B", help="default: all of them")
    parser.add_argument(
        "--compression", choices=COMPRESSIONS, default="c23", help="of ffpp, dfd and deepfakebench (default: c23)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="of deepfakebench (default: the only one in the root)"
    )
    parser.add_argument("--max-videos", type=positive, metavar="N", help="spread evenly over the list")
    parser.add_argument("--check", action="store_true", help="only check the copy")
    parser.add_argument("--protocols", action="store_true", help="also the AUC as others report it")
    parser.add_argument(
        "--explain", type=float, metavar="AUC", help="a published figure: what each choice makes of the distance"
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
    """Check, score, measure, write; return 1 if the list is not whole or a video could not be read."""
    options = parse_arguments()
    folder: Path = options.output or Path("benchmark") / options.set
    shard = wanted_shard(options.shard)
    everything = read_items(options.set, options.root, How(options.compression, options.json))
    manipulations = options.manipulation.split(",") if options.manipulation else None
    items = select(everything, options.split, manipulations, options.max_videos)
    print(f"benchmark: {LAYOUTS[options.set].title}, {options.split}: {counts(items)}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    broken, findings = False, list[Finding]()
    if shard is None or options.check:
        fetch = LAYOUTS[options.set].fetch.format(root=options.root, compression=COMPRESSIONS[options.compression][-1])
        others = extra(options.set, options.root, options.compression, everything)
        findings = examine(options.root, items, everything, others, fetch, options.workers)
        broken = write_check(folder, findings)
    if options.check:
        print(f"benchmark: the list is {'not whole' if broken else 'whole'}; {folder / 'check.json'}")
        return int(broken)
    refuse_absent(items, options.root, options.compression)
    refuse_other(folder, how_of(options, items))
    settings = Settings.of(options)
    scored_by: dict[str, Any]
    ready = any(item.frames for item in items)
    if shard and (options.detector or ready):
        raise BadInputError("another detector, or ready-made crops, are scored in one process: no --shard")
    if options.detector:
        rows, scored_by = by_detector(options.detector, items, options.root, folder)
    elif ready:
        rows, scored_by = score_ready(items, options.root, settings, folder / "submission.csv")
    else:
        scored = score(videos_of(items, options.root), settings, folder / "submission.csv", shard)
        rows = {result.filename: result for result in scored}
        scored_by = asdict(provenance_of(resolve(settings)))
    if shard:
        print(f"benchmark: shard {shard} is scored; run it without --shard when all are")
        return 0
    if without := faceless(items, rows):
        write_check(folder, without, before=findings)
    report = report_of(items, rows, options.rounds)
    how = how_of(options, items) | {
        "threshold": THRESHOLD,
        "protocol": "video: the contract's policy over faces and groups; frame: groups of five frames of one face",
        "rounds": options.rounds,
        "run": scored_by,
    }
    content = how | report
    write_text(folder / "benchmark.json", json.dumps(without_nan(content), indent=1, default=str) + "\n")
    write_text(folder / "scores.json", json.dumps(how | {"coverage": report["coverage"]}, indent=1, default=str) + "\n")
    write_scores(folder, options.set, how["compression"], items, rows)
    tables = "\n\n".join(filter(None, (table(report), mask_table(items, rows))))
    write_text(folder / "benchmark.md", tables + "\n")
    draw(folder / "roc.png", scored_videos(items, rows), items)
    print(f"\n{tables}\n")
    if options.protocols or options.explain is not None:
        lines = protocols.lines(items, rows)
        write_text(folder / "protocols.md", protocols.table(lines) + "\n")
        print(f"{protocols.table(lines)}\n")
        if options.explain is not None:
            print(f"{protocols.explain(lines, options.explain)}\n")
    lost = sum(row.status in UNREADABLE for row in rows.values())
    print(f"benchmark: {len(items)} videos, {lost} could not be read; {folder / 'benchmark.json'}")
    return int(broken or lost > 0)


if __name__ == "__main__":
    run_script(main)
