"""The demo's data: real clips cut from the samples and fakes made of them, as a small DFDC tree and test videos.

demo/DFDC-Kaggle/dfdc_train_part_{0,30}/*.mp4, metadata.json   two persons; in the fakes each has the other's face
demo/test_videos/*.mp4, metadata.json                          a third person; in the fakes with faces of a photograph
"""

import json
import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from common.files import atomic_file, write_text
from common.images import read_image
from demo.swap import swap_clip
from faces.detector import FaceDetector
from faces.video import probe, read_frames
from pretrain.clips import clip


class Cut(NamedTuple):
    """A real video to cut from a sample clip, and the fake to make of it."""

    folder: str
    name: str
    source: str  # the sample clip
    first: int
    last: int  # frames first to last - 1 are cut
    faces: str  # where the fake's faces come from: another clip, or a photograph
    faces_first: int  # the first frame of that clip, or the number of the face in the photograph


WOMAN, CAR, PHOTO = "WolfgangLanger_Pexels.mp4", "carphone_pristine.mp4", "multi_face.jpg"
TRAIN, VAL, TEST = "DFDC-Kaggle/dfdc_train_part_0", "DFDC-Kaggle/dfdc_train_part_30", "test_videos"
CUTS = (
    Cut(TRAIN, "woman1", WOMAN, 0, 60, CAR, 0),
    Cut(TRAIN, "woman2", WOMAN, 200, 260, CAR, 30),
    Cut(TRAIN, "woman3", WOMAN, 300, 360, CAR, 60),
    Cut(TRAIN, "car1", CAR, 0, 60, WOMAN, 0),
    Cut(VAL, "woman4", WOMAN, 400, 460, CAR, 0),
    Cut(VAL, "car2", CAR, 60, 120, WOMAN, 300),
    Cut(TEST, "single_face", "single_face.mp4", 0, 72, PHOTO, 0),
    Cut(TEST, "face_noface", "face_noface.mov", 0, 60, PHOTO, 1),
    Cut(TEST, "noface_face", "noface_face.mov", 100, 160, PHOTO, 2),
)


def read_clip(name: str, first: int, last: int) -> list[np.ndarray]:
    """Frames first..last-1 of a sample clip, BGR uint8 [H, W, 3]."""
    return list(islice(read_frames(clip(name)), first, last))


def photo_face(detector: FaceDetector, name: str, number: int) -> np.ndarray:
    """A square around a photograph's face, BGR uint8 [side, side, 3], so large that the detector finds it."""
    image = read_image(clip(name))
    x1, y1, x2, y2 = detector.detect([image])[0][number, :4].astype(int)
    side = int(0.8 * max(x2 - x1, y2 - y1))
    centre_x, centre_y = (x1 + x2) // 2, (y1 + y2) // 2
    region = image[max(centre_y - side, 0) : centre_y + side, max(centre_x - side, 0) : centre_x + side]
    return cv2.resize(region, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)


def write_video(path: Path, frames: Sequence[np.ndarray], fps: float) -> None:
    """Write frames, BGR uint8 [H, W, 3], as MPEG-4, which OpenCV's wheels can encode, atomically. Raises OSError."""
    height, width = frames[0].shape[:2]
    with atomic_file(path) as temporary:
        writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
        if not writer.isOpened():
            raise OSError(f"cannot write {path}")
        for frame in frames:
            writer.write(frame)
        writer.release()


def make_pair(detector: FaceDetector, root: Path, wanted: Cut) -> None:
    """Write a real video and its fake, unless both exist."""
    real, fake = (root / wanted.folder / f"{name}.mp4" for name in (wanted.name, f"{wanted.name}_fake"))
    if real.is_file() and fake.is_file():
        return
    frames = read_clip(wanted.source, wanted.first, wanted.last)
    if wanted.faces == PHOTO:
        sources = [photo_face(detector, PHOTO, wanted.faces_first)]
    else:
        sources = read_clip(wanted.faces, wanted.faces_first, wanted.faces_first + 60)
    fps = probe(clip(wanted.source)).fps
    write_video(real, frames, fps)
    write_video(fake, swap_clip(detector, frames, sources), fps)


def make_tree(root: Path, detector: FaceDetector) -> None:
    """Write all videos and the metadata.json of each folder."""
    metadata: dict[str, dict[str, dict[str, str]]] = {}
    for wanted in tqdm(CUTS, desc="making real and fake clips", unit="pair"):
        make_pair(detector, root, wanted)
        entries = metadata.setdefault(wanted.folder, {})
        entries[f"{wanted.name}.mp4"] = {"label": "REAL", "split": "train"}
        entries[f"{wanted.name}_fake.mp4"] = {"label": "FAKE", "split": "train", "original": f"{wanted.name}.mp4"}
    with atomic_file(root / TEST / "no_face.mp4") as temporary:
        shutil.copyfile(clip("no_face.mp4"), temporary)
    metadata[TEST]["no_face.mp4"] = {"label": "REAL", "split": "test"}
    for folder, entries in metadata.items():
        write_text(root / folder / "metadata.json", json.dumps(entries, indent=1) + "\n")
    write_text(root / "sample_submission.csv", "filename,label\n" + "".join(f"{name},0.5\n" for name in metadata[TEST]))
