"""Aligned faces as files and as packs: crops and clips that one core reads per second, cost of listing and removing.

The same crops of a real video are copied to 40 videos, in both forms. A crop is one random PNG (image models). A clip
is 32 JPGs of one video (video models). Both are decoded; decoding is the floor, and the rest is reading. "Cold" is
after the page cache was dropped (root only).

    python -m benchmarks.crops_on_disk [VIDEO] [--folder DIR]
"""

import os
import random
import shutil
import tempfile
from functools import partial
from pathlib import Path

import cv2

import pretrain.retinaface
from benchmarks import seconds
from common.command import command_parser
from common.pack import PACK, read_face, write_pack
from faces.detector import FaceDetector, default_weights
from faces.one_pass import Finder, crop_files, find_faces, threads
from faces.video import Reading, probe
from pretrain.clips import clip

VIDEOS, CROPS, CLIPS, CLIP_FRAMES = 40, 400, 40, 32
DROP = Path("/proc/sys/vm/drop_caches")


def drop_caches() -> None:
    """Empty the page cache."""
    os.sync()
    DROP.write_text("3")


def write(root: Path, files: list[tuple[str, bytes]], pack: bool) -> None:
    """Write the same crops for each of the videos, in one form."""
    for number in range(VIDEOS):
        folder = root / f"v{number}"
        folder.mkdir(parents=True)
        if pack:
            write_pack(folder / PACK, files)
        else:
            for name, content in files:
                (folder / name).write_bytes(content)


def measure(root: Path, names: list[str], cold: bool) -> dict[str, float]:
    """Crops, clips and listings of all names per second."""
    choose = random.Random(0)
    frames = len(names)
    crops = [root / f"v{choose.randrange(VIDEOS)}" / f"{choose.choice(names)}.png" for _ in range(CROPS)]
    clips = [
        [root / f"v{video}" / f"{names[frame % frames]}.jpg" for frame in range(0, 4 * CLIP_FRAMES, 4)]
        for video in range(CLIPS)
    ]
    row = {}
    for label, count, work in (
        ("crops/s", CROPS, lambda: [read_face(path) for path in crops]),
        ("clips/s", CLIPS, lambda: [[read_face(path) for path in paths] for paths in clips]),
        ("lists/s", 1, lambda: list(root.rglob("*"))),
    ):
        if cold:
            drop_caches()
        row[label] = count / seconds(work)
    return row


def main() -> None:
    """Measure and print both forms, warm and cold."""
    parser = command_parser(__doc__)
    parser.add_argument("video", nargs="?", type=Path, help="default: a sample clip of 72 frames")
    text = "on the file system to measure (default: the temporary one)"
    parser.add_argument("--folder", type=Path, metavar="DIR", help=text)
    options = parser.parse_args()
    pretrain.retinaface.make()
    cv2.setNumThreads(1)
    with threads(2) as (submit, ahead):
        video = options.video or clip("single_face.mp4")
        reading = Reading(video, probe(video))
        faces = find_faces(reading, reading, Finder(FaceDetector(default_weights()), submit, ahead))
        files = list(crop_files(faces, submit, ahead))
    names = sorted({Path(name).stem for name, _ in files if "_face1." in name})
    print(f"{len(names)} crops of {faces.squares[0][0].size} px per video, {VIDEOS} videos")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for form in ("files", "packs"):
            root = Path(folder) / form
            write(root, files, pack=form == "packs")
            for state in ("warm", *(["cold"] if os.access(DROP, os.W_OK) else [])):
                row = measure(root, names, cold=state == "cold")
                print(f"{form} {state}: " + ", ".join(f"{value:.1f} {name}" for name, value in row.items()))
            entries = sum(1 for _ in root.rglob("*"))
            print(f"{form}: {entries} entries, removed in {seconds(partial(shutil.rmtree, root)):.2f} s")


if __name__ == "__main__":
    main()
