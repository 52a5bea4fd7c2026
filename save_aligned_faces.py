"""Stage 3: link the boxes to one track per face, and cut each track to squares of one size.

Reads  DFDC-Kaggle_image/<part>/<video>/frame%d.png
       DFDC-Kaggle_Retinaface/<part>/<video>/frame%d.txt
Writes DFDC-Kaggle_Alignedface/<part>/<video>/frame%d_face%d.png (for image models) and .jpg (for video models, quality
       95), at native size; none for a video without a face.
       DFDC-Kaggle_Alignedface/<part>/<video>/info.json: frames, height, width, fps, voted_faces, voted_frames (how many
       frames show that number of faces), and for each face its detections and its square in every frame.
       A video's folder appears when it is complete; running again skips it.

    python save_aligned_faces.py --faces DFDC-Kaggle_Alignedface
"""

from pathlib import Path

import numpy as np

from common.command import run_script
from common.errors import BadInputError
from common.files import atomic_folder
from common.folders import frame_folder, part_folders
from common.images import read_image, read_same_size
from common.stage import run_stage, stage_parser
from faces.aligned import describe, face_files
from faces.boxes import parse_boxes
from faces.crops import Crop, cut, plan_crops
from faces.tracking import track_faces


def save_faces(frames: Path, boxes: Path, output: Path) -> int:
    """Track and cut the faces of one video; return the number of frames."""
    images, video = frame_folder(frames)
    detections = read_boxes(boxes, len(images))
    shape = height, width, _ = read_image(images[0]).shape
    tracking = track_faces(detections)
    squares, crops = plan_crops(tracking.tracks, len(images), width, height)
    with atomic_folder(output) as folder:
        write_crops(images, shape, crops, folder)
        facts = describe(len(images), height, width, video.get("fps"), tracking, squares)
        (folder / "info.json").write_text(facts, encoding="utf-8")
    return len(images)


def read_boxes(folder: Path, frames: int) -> list[np.ndarray]:
    """Read a video's box files: detections float32 [N, 5] of each frame.

    Raises BadInputError, which names a missing, malformed or surplus file.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder} is missing: detect_faces.py has not finished this video")
    boxes = []
    for number in range(1, frames + 1):
        path = folder / f"frame{number}.txt"
        try:
            boxes.append(parse_boxes(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise BadInputError(f"{path} is missing") from None
        except (BadInputError, UnicodeDecodeError) as error:
            raise BadInputError(f"{path}: {error}") from error
    if (folder / f"frame{frames + 1}.txt").exists():
        raise BadInputError(f"{folder} has boxes for more than the {frames} frames of the video")
    return boxes


def write_crops(images: list[Path], shape: tuple[int, ...], crops: dict[int, list[Crop]], folder: Path) -> None:
    """Write the .png and .jpg files of every face in every frame; read each frame once.

    `shape` is that of the frames, [H, W, 3]; `crops` are those to cut from each frame.
    """
    for source in sorted(crops):
        image = read_same_size(images[source], shape)
        for name, content in face_files((crop, cut(image, crop.square)) for crop in crops[source]):
            (folder / name).write_bytes(content)


def main() -> int:
    """Cut the faces of all videos with frames; return 1 if a video failed, else 0."""
    folders = {"frames": "DFDC-Kaggle_image", "boxes": "DFDC-Kaggle_Retinaface", "faces": "DFDC-Kaggle_Alignedface"}
    options = stage_parser(__doc__, **folders).parse_args()
    jobs = {
        name: (folder, options.boxes / name, options.faces / name)
        for name, folder in part_folders(options.frames).items()
    }
    return run_stage("save_aligned_faces", save_faces, jobs, options.faces, done="info.json", workers=options.workers)


if __name__ == "__main__":
    run_script(main)
