"""What tells the classes of a list apart besides the faces: a network would learn it first.

Reads  lists of crops in the format of make_lists.py, the faces
Writes a table to the terminal: for each list and measure, the area under the ROC curve with which the measure alone
       tells FAKE from REAL; 0.5 is chance

The measures: bytes of the file; coarseness of its JPEG tables; pixels of a side; sharpness of the outer tenth of the
image, which lies outside the face. Those whose area is farther than --most from 0.5 are marked, and the exit status is
then 1. Sharpness of the whole image is shown but never marked: fakes are softer by nature. Where a swap reaches the
border of a tight crop, the same holds outside: look at such crops before you believe the mark.

    python -m quality.sets.leaks DFDC-Kaggle_list/faces224_pairs.txt DFDC-Kaggle_list/ffpp_pairs.txt
"""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from common.command import command_parser, run_script
from common.errors import BadInputError
from common.images import decode_image
from common.workers import progress
from training.face_tracks import FaceTracks

SHARPNESS = "sharpness"  # is shown, never marked
SCALE = 128  # pixels of a side when sharpness is measured, so that it does not depend on the image's size


def measure_file(path: Path) -> dict[str, float]:
    """The measures of a crop's file. Raises BadInputError if it is missing or not an image."""
    if not path.is_file():
        raise BadInputError(f"{path} is missing")
    content = path.read_bytes()
    image = decode_image(np.frombuffer(content, np.uint8), path)
    tables = getattr(Image.open(io.BytesIO(content)), "quantization", None) or {0: [0]}  # a PNG has none
    grey = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (SCALE, SCALE), interpolation=cv2.INTER_AREA)
    edges = np.abs(cv2.Laplacian(grey, cv2.CV_32F))
    border = np.ones_like(edges, bool)
    border[SCALE // 10 : -(SCALE // 10), SCALE // 10 : -(SCALE // 10)] = False
    return {
        "bytes": float(len(content)),
        "coarseness": float(np.mean(tables[0])),
        "side": float(max(image.shape[:2])),
        "sharpness outside": float(edges[border].mean()),
        SHARPNESS: float(edges.mean()),
    }


def list_leaks(list_file: Path, faces: Path) -> dict[str, float]:
    """For each measure, the area under the ROC curve over the first crop of each track; each crop counts once.

    Raises BadInputError for a crop that cannot be read, or a list of one class.
    """
    labels = {track.frame(0): track.label for track in FaceTracks(faces, list_file)}
    if len(set(labels.values())) < 2:
        raise BadInputError(f"{list_file} holds only one class: there is nothing to tell apart")
    rows = [measure_file(faces / name) for name in progress(iterable=labels, desc=list_file.stem, unit="crop")]
    truth = list(labels.values())
    return {name: float(roc_auc_score(truth, [row[name] for row in rows])) for name in rows[0]}


def main() -> int:
    """Print the table; return 1 if a measure tells the classes of a list apart."""
    parser = command_parser(__doc__)
    parser.add_argument("lists", type=Path, nargs="+", metavar="LIST")
    parser.add_argument("--faces", type=Path, default=Path("DFDC-Kaggle_Alignedface"), metavar="DIR")
    parser.add_argument(
        "--most", type=float, default=0.1, metavar="D", help="distance from 0.5 that is accepted (default: 0.1)"
    )
    options = parser.parse_args()
    marked = 0
    for path in options.lists:
        for name, area in list_leaks(path, options.faces).items():
            leak = name != SHARPNESS and abs(area - 0.5) > options.most
            marked += leak
            print(f"{path.stem:<24} {name:<18} {area:.3f}{'  LEAK' * leak}")
    print(f"leaks: {marked} in {len(options.lists)} lists")
    return 1 if marked else 0


if __name__ == "__main__":
    run_script(main)
