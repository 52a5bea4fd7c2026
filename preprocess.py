"""Stages 1 to 3 in one pass: from videos to aligned faces, without a full frame on disk.

Reads  DFDC-Kaggle/<part>/*.mp4, and every other file that is a video by suffix or content (docs/use/video_files.md)
Writes DFDC-Kaggle_Alignedface/<part>/<video>/frame%d_face%d.{png,jpg} and info.json, byte for byte as stages 1-3 do;
       with --pack one faces.zip instead of the images
       DIR/<part>/<video>/frame%d.txt with --boxes DIR, as stage 2 does
       DFDC-Kaggle_Alignedface/preprocess-<i>-of-<n>.jsonl, a line per video: status, reason, frames, tracks, seconds

The status of a video is ok or no_face if it is done, else decode_error, missing, unsupported, crashed (its worker died
or hung) or write_error. A video's folder appears when it is complete. Running again skips it and retries failed videos.

    python preprocess.py                        every video, on all cores
    python preprocess.py --shard 0/100          the first of a hundred shards (default in a Slurm array: the task's)
    sh preprocess.sh PARTITION 100              all hundred shards as a Slurm array
    python preprocess.py --status               what is done, failed, missing and doubtful, over all shards
    python preprocess.py --preview VIDEO        a contact sheet: frames, boxes, tracks, squares, crops
"""

import argparse
import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from common.command import DEVICES, Shard, add_detector_weights, parse_shard, pick_device, run_script, wanted_shard
from common.errors import BadInputError
from common.stage import stage_parser
from common.status import PREPROCESSED, Status
from common.workers import Workers, patience
from faces.detector import default_weights, load_detector
from faces.notes import failure
from faces.video import VideoInfo, probe
from faces.video_files import part_videos
from preprocessing.log import CANNOT_WRITE, Log, LogEntry
from preprocessing.one_video import SLOTS, count_frames_in, preprocess
from preprocessing.preview import contact_sheet
from preprocessing.report import format_report, make_report


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = stage_parser(__doc__, videos="DFDC-Kaggle", faces="DFDC-Kaggle_Alignedface")
    parser.add_argument("--boxes", type=Path, metavar="DIR", help="write box files too (default: none)")
    add_detector_weights(parser)
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--shard", type=parse_shard, metavar="i/n", help="default: the Slurm array's, else 0/1")
    parser.add_argument("--pack", action="store_true", help="one faces.zip per video; the trainers read both forms")
    task = parser.add_mutually_exclusive_group()
    task.add_argument("--status", action="store_true", help="report over all shards and write FACES/status.json")
    task.add_argument("--preview", type=Path, metavar="VIDEO", help="write one contact sheet")
    parser.add_argument("--output", type=Path, metavar="PNG", help="of --preview (default: <video>_preview.png)")
    return parser.parse_args()


def main() -> int:
    """Do what the options ask for; return 1 if a video failed or, with --status, is not done, else 0."""
    options = parse_arguments()
    if options.status:
        return show_status(options)
    weights, device = options.detector_weights or default_weights(), pick_device(options.device)
    detector = load_detector(weights, device)  # a bad weights file is one error here, not one per video
    if options.preview:
        output = options.output or Path(f"{options.preview.stem}_preview.png")
        print(f"preprocess: {contact_sheet(options.preview, detector, output, options.workers)}; {output}")
        return 0
    shard = wanted_shard(options.shard) or Shard(0, 1)
    found = part_videos(options.videos)
    videos = shard.of(found.videos)
    todo = {name: video for name, video in videos.items() if not is_done(options, name)}
    entries = run(options, todo, weights, device, Log(options.faces, shard.index, shard.count)) if todo else {}
    statuses = Counter(entry.status for entry in entries.values())
    done = sum(statuses[status] for status in PREPROCESSED)
    failed = ", ".join(f"{count} {status}" for status, count in statuses.items() if status not in PREPROCESSED)
    frames = sum(entry.frames for entry in entries.values())
    counts = f"{done} done, {len(videos) - len(entries)} skipped, {len(entries) - done} failed"
    counts += f" ({failed})" if failed else ""
    print(f"preprocess: {counts}; {frames} frames; shard {shard}; {options.faces}{found.note}")
    return 1 if failed else 0


def is_done(options: argparse.Namespace, name: str) -> bool:
    """Whether a video's faces are on disk, and with --boxes its boxes too."""
    return (options.faces / name / "info.json").exists() and (options.boxes is None or (options.boxes / name).exists())


def run(
    options: argparse.Namespace, todo: dict[str, Path], weights: Path, device: str, log: Log
) -> dict[str, LogEntry]:
    """Preprocess videos in worker processes, longest first; return their entries.

    Raises BadInputError if nothing can be written any more.
    """
    entries: dict[str, LogEntry] = {}
    counter = multiprocessing.get_context("spawn").RawArray("q", SLOTS)
    processes = min(options.workers, len(todo))
    seconds = {name: patience(video) for name, video in todo.items()}

    def record(name: str, entry: LogEntry) -> None:
        entries[name] = entry
        if entry.status not in PREPROCESSED:
            tqdm.write(f"preprocess: {name}: {entry.status}: {entry.reason}", file=sys.stderr)
        log.append(name, entry)

    with Workers(processes, count_frames_in, counter) as workers:
        infos = probe_all(workers, todo, seconds, record)
        jobs = {
            name: (
                *(todo[name], infos[name], options.faces / name, options.boxes / name if options.boxes else None),
                *(weights, device, options.workers // processes, options.pack),
            )
            for name in sorted(infos, key=lambda name: -infos[name].frames)
        }
        results = workers.run_with_bar(
            preprocess,
            jobs,
            "preprocess",
            seconds,
            unit="frame",
            total=sum(info.frames for info in infos.values()),
            count=lambda: sum(counter),
            postfix=lambda: {"videos": f"{len(entries)}/{len(todo)}"},
        )
        for name, result in results:
            if isinstance(result, OSError) and result.errno in CANNOT_WRITE:
                raise BadInputError(f"{name}: {result}: cannot write; finished videos are kept, run it again to go on")
            if isinstance(result, FileExistsError) and is_done(options, name):
                continue  # another process finished the same folder first
            record(name, failed(result) if isinstance(result, Exception) else result)
    return entries


def probe_all(
    workers: Workers, todo: dict[str, Path], seconds: dict[str, float], record: Callable[[str, LogEntry], None]
) -> dict[str, VideoInfo]:
    """Probe the videos; return what is known of the readable ones, and record the others as failed."""
    infos: dict[str, VideoInfo] = {}
    jobs = {name: (video,) for name, video in todo.items()}
    for name, outcome in workers.run_with_bar(probe, jobs, "preprocess: look", seconds):
        if isinstance(outcome, VideoInfo):
            infos[name] = outcome
        else:
            record(name, failed(outcome))
    return infos


def failed(error: Exception) -> LogEntry:
    """The entry of a video that failed with one of `common.workers.FAILURES`."""
    return LogEntry(*failure(error, other=Status.WRITE_ERROR))


def show_status(options: argparse.Namespace) -> int:
    """Print the report over all shards and write `status.json`; return 0 if every video is done, else 1."""
    found = part_videos(options.videos)
    report = make_report(found.videos, options.faces, found.left_out)
    print(format_report(report))
    return 0 if report.done == report.videos else 1


if __name__ == "__main__":
    run_script(main)
