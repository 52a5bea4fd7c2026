"""Pairs of a fake made from a real face and that face, which one core makes per second, from 224 px crops on disk.

The core's time counts, not the clock's. Each crop is read and decoded, too; that alone is the floor. Rebuilt faces are
read from PNG files as `shipped.autoencoder` writes them, here by a network without training, which takes as long. The
last row is the degradation of a single sample as by a platform (`platform`), of which a training needs as many as its
config says.

    python -m benchmarks.blends [--repeat 5] [--count 200]
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

import pretrain.retinaface
from benchmarks import parser
from common.command import positive
from common.images import read_image, write_image
from faces.detector import FaceDetector, default_weights
from faces.tight_crops import find_landmarks, tight_face
from faces.video import read_frames
from pretrain.clips import clip
from shipped.autoencoder import Autoencoder, rebuild
from training.blend import self_blend
from training.platform import as_uploaded
from training.ranges import Ranges
from training.rebuild import rebuilt_pair

SIDE, FACES = 224, 12


def write_faces(folder: Path) -> list[tuple[Path, np.ndarray]]:
    """Write crops of a sample clip and what an autoencoder makes of them; return their files and landmarks."""
    detector, network = FaceDetector(default_weights()), Autoencoder().eval()
    faces = []
    for number, frame in zip(range(FACES), read_frames(clip("single_face.mp4")), strict=False):
        face, path = tight_face(detector, frame), folder / f"{number}.jpg"
        if face is None:
            continue
        write_image(path, cv2.resize(face, (SIDE, SIDE)))
        points = find_landmarks(detector, path)
        if points is not None:
            write_image(path.with_suffix(".png"), rebuild(network, folder, (path.name, points)))
            faces.append((path, points))
    return faces


def core_seconds(work: Callable[[], object], repeat: int) -> float:
    """Median seconds of a core that a call takes."""
    taken = []
    for _ in range(repeat):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def main() -> None:
    """Measure and print."""
    options_parser = parser(__doc__, repeat=5)
    options_parser.add_argument(
        "--count", type=positive, default=200, metavar="N", help="pairs per round (default: 200)"
    )
    options = options_parser.parse_args()
    pretrain.retinaface.make()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        faces = write_faces(Path(folder))
        random = np.random.default_rng(0)
        images = [read_image(path) for path, _ in faces]

        def each(work: Callable[[Path, np.ndarray], object]) -> None:
            for number in range(options.count):
                work(*faces[number % len(faces)])

        works: dict[str, Callable[[Path, np.ndarray], object]] = {
            "reading alone": lambda path, _: read_image(path),
            "self-blended": lambda path, points: self_blend(read_image(path), points, Ranges(), random),
            "rebuilt": lambda path, points: rebuilt_pair(
                read_image(path), points, read_image(path.with_suffix(".png")), random
            ),
            "resampled": lambda path, points: rebuilt_pair(read_image(path), points, None, random),
        }
        for name, work in works.items():
            rate = options.count / core_seconds(partial(each, work), options.repeat)
            print(f"{name:>14}: {rate:6.0f} pairs/s", flush=True)
        uploaded = core_seconds(lambda: [as_uploaded(image, random) for image in images], options.repeat)
        size = np.mean([path.with_suffix(".png").stat().st_size for path, _ in faces])
        print(f"{'platform':>14}: {len(images) / uploaded:6.0f} samples/s")
        print(f"a rebuilt face takes {size / 1e3:.0f} kB here")


if __name__ == "__main__":
    main()
