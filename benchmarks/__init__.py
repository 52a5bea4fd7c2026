"""Measurements: `python -m benchmarks.NAME`. Each docstring says how far the code is from the floor, the least cost."""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from itertools import islice, product
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from common import former_names
from common.command import positive
from common.files import ROOT, atomic_file
from common.stage import folder_parser

if TYPE_CHECKING:
    from inference.members import Member

former_names.accept()

TERAFLOP = 4.46  # of the eleven members on 150 frames of one face
Name = TypeVar("Name", bound=Hashable)
Outcome = TypeVar("Outcome")


def parser(description: str | None, repeat: int) -> argparse.ArgumentParser:
    """A parser with --repeat, the number of rounds of which the median counts."""
    options = folder_parser(description)
    text = f"rounds of which the median counts (default: {repeat})"
    options.add_argument("--repeat", type=positive, default=repeat, metavar="N", help=text)
    return options


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median_seconds(work: Callable[[], object], repeat: int, device: str = "cpu", warm_up: int = 1) -> float:
    """Median seconds of a call, after `warm_up` calls. On a GPU each call ends when the device has done its work."""

    def call() -> None:
        work()
        if device == "cuda":
            import torch

            torch.cuda.synchronize()

    for _ in range(warm_up):
        call()
    return statistics.median(seconds(call) for _ in range(repeat))


def take_turns(sides: Mapping[Name, Callable[[], Outcome]], repeat: int, warm_up: int = 0) -> dict[Name, list[Outcome]]:
    """What each side's calls return, without `warm_up` rounds. Sides take turns: a noisy machine disturbs all alike."""
    outcomes: dict[Name, list[Outcome]] = {side: [] for side in sides}
    for _ in range(warm_up + repeat):
        for side, work in sides.items():
            outcomes[side].append(work())
    return {side: results[warm_up:] for side, results in outcomes.items()}


class Spent(NamedTuple):
    """What a process and its children took: seconds, seconds of all cores, megabytes of the largest process.

    The kernel counts for a process at least the memory of the one that started it.
    """

    wall: float
    cores: float
    megabytes: float


def run(*words: object, folder: Path = ROOT) -> Spent:
    """Run Python with these words in a folder. Raises RuntimeError with the end of its stderr if it fails."""
    command = [sys.executable, *map(str, words)]
    began = time.perf_counter()
    with TemporaryFile() as errors:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - began
        if status:
            errors.seek(0)
            message = errors.read().decode(errors="replace")[-500:]
            raise RuntimeError(f"{' '.join(command)}: status {os.waitstatus_to_exitcode(status)}: {message}")
    return Spent(took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def matmul_rate(device: str) -> float:
    """GFLOP/s of a 2048x2048 float32 matrix product."""
    import torch

    matrix = torch.randn(2048, 2048, device=device)
    return 2 * 2048**3 / median_seconds(lambda: matrix @ matrix, 9, device) / 1e9


def write_checkpoints(members: Iterable["Member"], folder: Path) -> None:
    """Write checkpoints of members with random weights, the same at each call."""
    import torch

    from inference.networks.torch_networks import BUILD

    torch.manual_seed(0)
    for member in members:
        state = BUILD[member.branch](member.arch).state_dict()
        torch.save({"step": 1, "arch": member.arch, "state_dict": state}, folder / member.file)


def write_crops(folder: Path, videos: int) -> Path:
    """Write videos of two crops of noise each, as trainings read them; return their list."""
    import numpy as np

    from common.images import write_image

    noise = np.random.RandomState(0)
    for number, frame in product(range(videos), (1, 2)):
        path = folder / f"v{number}/frame{frame}_face1.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, noise.randint(0, 256, (96, 96, 3), dtype=np.uint8))
    lines = [f"v{number}/frame%d_face1.png 1 1 2 {number % 2}\n" for number in range(videos)]
    (folder / "list.txt").write_text("".join(lines), encoding="utf-8")
    return folder / "list.txt"


def write_video(path: Path, frames: int, size: tuple[int, int]) -> None:
    """Write a video of one face as H.264 in MP4: a sample clip, forth and back so that nothing looks like a cut."""
    import av
    import cv2
    import numpy as np

    from faces.video import read_frames
    from pretrain.clips import clip

    images = [cv2.resize(image, size) for image in islice(read_frames(clip("single_face.mp4")), min(frames, 60))]
    path.parent.mkdir(exist_ok=True)
    with atomic_file(path) as temporary, av.open(temporary, "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(frames):
            turn, index = divmod(number, len(images))
            image = np.asarray(images[-1 - index if turn % 2 else index], np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
