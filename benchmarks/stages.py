"""Seconds, frames a second and bytes of stages 1-3 on one video, beside their floors in the same run.

The floors: decoding alone (stage 1 cannot be faster); the detector alone on frames in memory on one thread (stage 2: 1.38 GFLOP a
400x711 frame by torch's counter, so 16 ms at the 86 GFLOP/s at which one core multiplies matrices; 44 ms were measured, the rest
being memory traffic of the thin layers); and reading every frame's PNG (stages 2 and 3 both do, which is what preprocessing in one
pass will save).

    python benchmarks/stages.py [VIDEO] [--repeat 3]
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import pretrain.retinaface  # noqa: E402
from common.images import read_image  # noqa: E402
from demo.clips import clip  # noqa: E402
from faces.detector import FaceDetector, default_weights  # noqa: E402
from faces.video import read_frames  # noqa: E402

DETECTED = 64  # frames for the detector's floor


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def run_stage(name: str, root: Path, folders: tuple[str, ...]) -> float:
    """Seconds of a stage's real command, starting Python included."""
    arguments = [word for folder in folders for word in (f"--{folder}", str(root / folder))]
    command = [sys.executable, f"{name}.py", *arguments]
    return seconds(lambda: subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL))


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(video: Path) -> dict[str, float]:
    """One round: seconds of each stage and floor, and bytes on disk."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "videos/part_0").mkdir(parents=True)
        (root / f"videos/part_0/{video.name}").symlink_to(video.resolve())
        row = {
            "extract_frames": run_stage("extract_frames", root, ("videos", "frames")),
            "detect_faces": run_stage("detect_faces", root, ("frames", "boxes")),
            "save_aligned_faces": run_stage("save_aligned_faces", root, ("frames", "boxes", "faces")),
            "floor: decode": seconds(lambda: sum(1 for _ in read_frames(video))),
        }
        images = sorted((root / "frames").rglob("*.png"))
        row["floor: read PNG"] = seconds(lambda: [read_image(path) for path in images])
        row |= {f"MB of {name}": size(root / name) / 1e6 for name in ("frames", "boxes", "faces")}
    torch.set_num_threads(1)
    detector = FaceDetector(default_weights())
    frames = list(islice(read_frames(video), DETECTED))
    detector.detect(frames[:8])
    detect = seconds(lambda: [detector.detect(frames[at : at + 8]) for at in range(0, len(frames), 8)])
    return row | {"floor: detect": detect / len(frames) * len(images), "frames": len(images)}


def main() -> None:
    """Print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path, help="default: a sample clip of 72 frames, 640x360")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    pretrain.retinaface.main()
    rounds = [measure(options.video or clip("single_face.mp4")) for _ in range(options.repeat)]
    medians = {name: statistics.median(row[name] for row in rounds) for name in rounds[0]}
    frames = medians.pop("frames")
    print(f"{options.video or 'single_face.mp4'}: {frames:.0f} frames, median of {options.repeat}")
    for name, value in medians.items():
        unit = "MB" if name.startswith("MB") else f"s  {frames / value:8.1f} frames/s"
        print(f"{name:<22} {value:8.2f} {unit}")


if __name__ == "__main__":
    main()
