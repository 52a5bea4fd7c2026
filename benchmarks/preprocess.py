"""Stages 1-3 against `preprocess.py` on the same video, by their real commands: seconds, bytes on disk, memory.

The floors are decoding alone, and the detector alone on frames in memory. The detector needs 1.38 GFLOP per 400x711
frame by torch's counter. This is 16 ms at the 86 GFLOP/s at which one core of the machine where this was written
multiplies matrices. One pass must do both. Its time over the sum of both, divided among the cores, says how far from
the floor it is. On that machine this was 1.4, because of Python's start, the crops and the resizing.

Two workers on two copies of the video, compared with one worker on both, show what a second core adds. --long measures
memory on a ten-minute video made of the same packets. With a GPU there is a row for `preprocess.py --device cuda`.

    python -m benchmarks.preprocess [VIDEO] [--detector-weights FILE] [--repeat 3] [--long]
"""

import shutil
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
import cv2

import pretrain.retinaface
from benchmarks import Spent, parser, run, seconds
from common.command import add_detector_weights, cores, pick_device
from faces.detector import FaceDetector, default_weights
from faces.video import read_frames
from pretrain.clips import clip

DETECTED = 100  # frames for the detector's floor
LONG_SECONDS = 600


def size(folder: Path) -> float:
    """Megabytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def part(root: Path, videos: list[Path]) -> Path:
    """Make a DFDC-Kaggle folder with one part that holds links to these videos."""
    (root / "part_0").mkdir(parents=True)
    for number, video in enumerate(videos):
        (root / f"part_0/v{number}{video.suffix}").symlink_to(video.resolve())
    return root


def lengthen(video: Path, output: Path) -> Path:
    """Write the video's packets again and again, for ten minutes."""
    with av.open(str(video)) as source, av.open(str(output), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        packets: list[Any] = [packet for packet in source.demux(stream) if packet.size]  # Any: with timestamps
        length = max(packet.pts + packet.duration for packet in packets)
        for lap in range(round(LONG_SECONDS / float(length * packets[0].time_base))):
            for packet in packets:
                again = av.Packet(bytes(packet))
                again.pts, again.dts = packet.pts + lap * length, packet.dts + lap * length
                again.time_base, again.is_keyframe, again.stream = packet.time_base, packet.is_keyframe, copy
                target.mux(again)
    return output


def three_stages(root: Path, videos: Path, weights: Path) -> dict[str, float]:
    """One round of stages 1-3."""
    frames, boxes, faces = root / "frames", root / "boxes", root / "faces"
    commands = {
        "extract_frames": ("--videos", videos, "--frames", frames),
        "detect_faces": ("--frames", frames, "--boxes", boxes, "--detector-weights", weights, "--device", "cpu"),
        "save_aligned_faces": ("--frames", frames, "--boxes", boxes, "--faces", faces),
    }
    row = {f"{name}, s": run(f"{name}.py", *options).wall for name, options in commands.items()}
    row["stages 1-3, s"] = sum(row.values())
    return row | {"stages 1-3, MB on disk": size(frames) + size(boxes) + size(faces)}


def one_pass(root: Path, video: Path, weights: Path) -> dict[str, float]:
    """One round of `preprocess.py`: one video on all cores, two on one and on two workers, and on a GPU."""
    one, two = part(root / "one", [video]), part(root / "two", [video, video])

    def preprocess(videos: Path, faces: str, *options: object) -> Spent:
        folders = ("--videos", videos, "--faces", root / faces)
        return run("preprocess.py", *folders, "--detector-weights", weights, *options)

    spent = preprocess(one, "p", "--device", "cpu")
    row = {"preprocess, s": spent.wall, "preprocess, MB of memory": spent.megabytes}
    row["preprocess, MB on disk"] = size(root / "p")
    for workers in (1, 2):
        name = f"two videos, {workers} worker{'s' * (workers - 1)}, s"
        row[name] = preprocess(two, f"p{workers}", "--workers", workers, "--device", "cpu").wall
    row["two workers over one"] = row["two videos, 1 worker, s"] / row["two videos, 2 workers, s"]
    if pick_device("auto") == "cuda":
        row["preprocess on the GPU, s"] = preprocess(one, "g").wall
    return row


def floors(video: Path, weights: Path) -> dict[str, float]:
    """Decoding alone and the detector alone, on one thread."""
    cv2.setNumThreads(1)
    row = {"floor: decode, s on one core": seconds(lambda: sum(1 for _ in read_frames(video)))}
    detector = FaceDetector(weights)
    frames = list(islice(read_frames(video), DETECTED))
    detector.detect(frames[:8])
    total = sum(1 for _ in read_frames(video, 1))
    row["floor: detect, s on one core"] = seconds(lambda: detector.detect(frames)) / len(frames) * total
    return row


def measure(video: Path, weights: Path) -> dict[str, float]:
    """One round of everything."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        row = three_stages(root, part(root / "videos", [video]), weights)
        for name in ("frames", "boxes", "faces"):
            shutil.rmtree(root / name)
        row |= one_pass(root, video, weights)
    with ProcessPoolExecutor(1, get_context("spawn")) as apart:  # apart, so that frames in memory slow nothing else
        row |= apart.submit(floors, video, weights).result()
    row["stages 1-3 over preprocess"] = row["stages 1-3, s"] / row["preprocess, s"]
    floor = (row["floor: decode, s on one core"] + row["floor: detect, s on one core"]) / cores()
    return row | {"preprocess over the floor": row["preprocess, s"] / floor}


def main() -> None:
    """Measure and print medians."""
    command = parser(__doc__, repeat=3)
    command.add_argument("video", nargs="?", type=Path, help="default: a sample clip of 72 frames, 640x360")
    add_detector_weights(command)
    command.add_argument("--long", action="store_true", help="also the memory of ten minutes of the same video")
    options = command.parse_args()
    pretrain.retinaface.make()
    video = (options.video or clip("single_face.mp4")).resolve()
    weights = (options.detector_weights or default_weights()).resolve()
    FaceDetector(weights)  # converts the weights, if this is their first use
    rounds = [measure(video, weights) for _ in range(options.repeat)]
    print(f"{video.name}: medians of {options.repeat} on {cores()} cores")
    for name in rounds[0]:
        print(f"{name:<32}{statistics.median(row[name] for row in rounds):9.2f}")
    if options.long:
        with tempfile.TemporaryDirectory() as folder:
            long = part(Path(folder) / "videos", [lengthen(video, Path(folder) / "long.mp4")])
            spent = run("preprocess.py", "--videos", long, "--faces", f"{folder}/faces", "--detector-weights", weights)
            print(f"{'ten minutes, MB of memory':<32}{spent.megabytes:9.2f}")


if __name__ == "__main__":
    main()
