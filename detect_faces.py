"""Stage 2: find the faces of every frame with RetinaFace.

Reads  DFDC-Kaggle_image/<part>/<video>/frame%d.png
Writes DFDC-Kaggle_Retinaface/<part>/<video>/frame%d.txt: the number of boxes, then a line `x y w h score ` per box,
       best score first. A video's folder appears when it is complete; running again skips it.

    python detect_faces.py --frames DFDC-Kaggle_image --boxes DFDC-Kaggle_Retinaface
"""

from pathlib import Path

from common.command import DEVICES, add_detector_weights, pick_device, run_script
from common.files import atomic_folder
from common.folders import frame_folder, part_folders
from common.images import read_image, read_same_size
from common.stage import run_stage, stage_parser
from faces.boxes import format_boxes
from faces.detector import FaceDetector, default_weights, load_detector


def detect(frames: Path, output: Path, weights: Path, device: str) -> int:
    """Write the box files of one video's frame folder; return the number of frames."""
    paths, _ = frame_folder(frames)
    shape = read_image(paths[0]).shape
    detector = load_detector(weights, device)
    with atomic_folder(output) as folder:
        for start in range(0, len(paths), detector.batch):
            chunk = paths[start : start + detector.batch]
            boxes = detector.detect([read_same_size(path, shape) for path in chunk])
            for path, detections in zip(chunk, boxes, strict=True):
                (folder / f"{path.stem}.txt").write_text(format_boxes(detections))
    return len(paths)


def main() -> int:
    """Detect the faces of all videos with frames; return 1 if a video failed, else 0."""
    parser = stage_parser(__doc__, frames="DFDC-Kaggle_image", boxes="DFDC-Kaggle_Retinaface")
    add_detector_weights(parser)
    parser.add_argument("--device", choices=DEVICES, default="auto")
    options = parser.parse_args()
    weights = options.detector_weights or default_weights()
    device = pick_device(options.device)
    FaceDetector(weights)  # a bad weights file is one error here, not one per video
    jobs = {
        name: (folder, options.boxes / name, weights, device) for name, folder in part_folders(options.frames).items()
    }
    return run_stage("detect_faces", detect, jobs, options.boxes, done="", workers=options.workers)


if __name__ == "__main__":
    run_script(main)
