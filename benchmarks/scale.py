"""What a run over many videos costs, besides the videos and with them.

First a quarter, half and all of --names names of one file are scored by a scorer that has the same result for each:
this is what lists, the ledger and the files cost. Then --clips clips of five frames in 640x360 are scored for real, by
`inference.predict --screen`. Each tenth of them prints a line: clips per hour, the memory of the main process and of
those that it has started, and the size of the ledger.

    python -m benchmarks.scale [--names 20000] [--clips 1000] [--folder DIR]
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import cv2

from benchmarks import run
from common.command import command_parser, positive
from common.files import ROOT, file_beside
from demo.tree import write_video
from faces.video import read_frames
from inference import run as scoring_run
from inference.ledger import LEDGER
from inference.results import Result, read_rows
from inference.run import Output
from inference.scorer import Video
from inference.settings import Settings, Setup
from pretrain.clips import clip

NAMES = ("single_face.mp4", "WolfgangLanger_Pexels.mp4")  # of the sample clips that short ones are made of
FRAMES = 5  # of a short clip: one group of an image member


class Repeated:
    """A scorer that looks at nothing: all videos have the result in `row`, each as an object of its own."""

    row: ClassVar[dict[str, Any]]
    seconds: ClassVar[dict[str, float]] = {}

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def __enter__(self) -> "Repeated":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def score_videos(self, videos: Sequence[Video]) -> Iterator[Result]:
        """The same result under each name."""
        text = json.dumps(self.row)
        return (Result.from_row(json.loads(text) | {"filename": video.name}) for video in videos)


def score_names(count: int) -> None:
    """Score names of one file with a scorer that looks at nothing; print what it took."""
    sample_clip = clip("single_face.mp4").resolve()
    with TemporaryDirectory() as folder:
        one = Path(folder) / "one.csv"
        run("-m", "inference.predict", sample_clip, "--screen", "--output", one)  # networks would stay in memory here
        (Repeated.row,) = read_rows(file_beside(one, ".jsonl"))
        vars(scoring_run)["Scorer"] = Repeated
        for number in range(count):
            (Path(folder) / f"{number}.mp4").symlink_to(sample_clip)
        videos = [Video(f"{number}.mp4", Path(folder) / f"{number}.mp4") for number in range(count)]
        output = Output(Path(folder) / "s.csv", keeps_ledger=True)
        scoring_run.score_videos(videos[:2], Settings(screen=True), Output(Path(folder) / "first.csv"))
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the most memory so far is forgotten
        before, began = megabytes(os.getpid(), "VmHWM"), time.process_time()
        scoring_run.score_videos(videos, Settings(screen=True), output)
        took, more = time.process_time() - began, megabytes(os.getpid(), "VmHWM") - before
        sizes = {suffix: file_beside(output.submission, suffix).stat().st_size for suffix in (LEDGER, ".jsonl", ".csv")}
    per_name = ", ".join(f"{suffix} {size / count:.0f} bytes" for suffix, size in sizes.items())
    cost = f"{1000 * took / count:.2f} ms of a core and {1000 * more / count:.1f} kB of memory per name"
    print(f"{count:,} names: {cost}; {per_name}", flush=True)


def megabytes(process: int, what: str) -> float:
    """The memory of a process: VmRSS is what it has, VmHWM the most that it has had. 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(what)), 0)


def children_of(process: int) -> list[int]:
    """The processes that a process has started, and that have not ended."""
    try:
        return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii").split()))
    except FileNotFoundError:
        return []


def short_clips(folder: Path) -> list[Path]:
    """Clips of consecutive frames, from the beginning of the sample clips."""
    folder.mkdir()
    made = []
    for name in NAMES:
        frames = [cv2.resize(frame, (640, 360)) for frame in islice(read_frames(clip(name)), 5 * FRAMES)]
        for first in range(0, len(frames) - FRAMES + 1, FRAMES):
            made.append(folder / f"{first}-{name}")
            write_video(made[-1], frames[first : first + FRAMES], 30.0)
    return made


def score_clips(count: int, folder: Path) -> None:
    """Score `count` short clips, and print a line after each tenth of them."""
    clips = short_clips(folder / "clips")
    (folder / "videos").mkdir()
    for number in range(count):
        (folder / f"videos/{number:07}.mp4").symlink_to(clips[number % len(clips)].resolve())
    words = ("-m", "inference.predict", folder / "videos", "--screen", "--output", folder / "s.csv")
    ledger, tenth = folder / f"s{LEDGER}", max(count // 10, 1)
    with (folder / "log.txt").open("w") as log, subprocess.Popen([sys.executable, *words], stderr=log) as process:
        began, done, said, read = time.perf_counter(), -1, 0, 0  # the ledger's first line is not a clip's
        while process.poll() is None:
            time.sleep(0.2)
            if not ledger.is_file():
                continue
            with ledger.open("rb") as file:
                file.seek(read)
                more = file.read()
            read, done = read + len(more), done + more.count(b"\n")
            if done >= said + tenth:
                pace = 3600 * (done - said) / (time.perf_counter() - began)
                main, *others = (f"{megabytes(each, 'VmRSS'):.0f}" for each in (process.pid, *children_of(process.pid)))
                print(
                    f"{done:,} clips: {pace:,.0f} per hour; {main} MB, its processes {', '.join(others)} MB; ", end=""
                )
                print(f"ledger {read / max(done, 1):.0f} bytes per clip", flush=True)
                began, said = time.perf_counter(), done
    if process.returncode not in (0, 1):
        raise RuntimeError((folder / "log.txt").read_text(encoding="utf-8")[-500:])


def main() -> None:
    """Measure and print."""
    command = command_parser(__doc__)
    command.add_argument("--names", type=positive, default=20_000, metavar="N", help="default: 20000")
    command.add_argument("--clips", type=positive, default=1000, metavar="N", help="default: 1000")
    command.add_argument("--folder", type=Path, metavar="DIR", help="where the clips go (default: a temporary folder)")
    command.add_argument("--fake", type=positive, help=argparse.SUPPRESS)
    options = command.parse_args()
    os.chdir(ROOT)
    if options.fake:
        score_names(options.fake)
        return
    for count in (options.names // 4, options.names // 2, options.names):
        run_again = [sys.executable, "-m", "benchmarks.scale", "--fake", str(count)]
        done = subprocess.run(run_again, check=True, capture_output=True, text=True)
        print(done.stdout.splitlines()[-1], flush=True)
    with TemporaryDirectory(dir=options.folder) as folder:
        score_clips(options.clips, Path(folder))


if __name__ == "__main__":
    main()
