"""Still pictures (JPEG, PNG, WebP), read by Pillow and turned upright as their EXIF data asks."""

from collections.abc import Collection, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from faces.streams import DecodeError, Orientation, UnsupportedError
from faces.video import Frame, VideoInfo

FORMATS = ("JPEG", "PNG", "WEBP")
EXIF_ORIENTATION = 0x0112
# By the value of EXIF's tag: quarter turns, counterclockwise, and whether left and right then change places.
ORIENTATIONS = {
    **{1: Orientation(), 2: Orientation(0, True), 3: Orientation(2), 4: Orientation(2, True)},
    **{5: Orientation(3, True), 6: Orientation(3), 7: Orientation(1, True), 8: Orientation(1)},
}
MAX_PIXELS = 250_000_000  # a larger picture is refused before it is decoded


class Still:
    """A picture as a video of one frame, with the interface of `faces.video.Reading`.

    Only the first frame of an animated picture counts. The constructor raises UnsupportedError, DecodeError or
    FileNotFoundError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames, self.damaged, self.concealed = 1, 0, 0
        self.first, self.duration = None, 0.0
        self.image, orientation = _read(path)
        height, width = self.image.shape[:2]
        self.info = VideoInfo(
            frames=1,
            height=height,
            width=width,
            fps=0.0,
            declared=1,
            orientation=orientation,
            stream=0,
            streams=1,
            transfer=None,
            pixel_aspect=Fraction(1),
            start=0.0,
            end=None,
            last=0.0,
            expected=1,
            stands_still=False,
            size=path.stat().st_size,
            still=True,
        )

    def __iter__(self) -> Iterator[Frame]:
        yield Frame(0, None, self.image)

    def reread(self, numbers: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The image, BGR uint8 [H, W, 3], under each number, as `faces.video.read_some` yields frames."""
        yield from ((number, self.image) for number in numbers)


def _read(path: Path) -> tuple[np.ndarray, Orientation]:
    """Read a picture: upright BGR uint8 [height, width, 3], and how it was turned."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise UnsupportedError(f"{path}: {picture.width}x{picture.height} pixels are too many")
            orientation = ORIENTATIONS.get(picture.getexif().get(EXIF_ORIENTATION, 1), Orientation())
            stored = np.asarray(picture.convert("RGB"))[..., ::-1]
            return np.ascontiguousarray(orientation.upright(stored)), orientation
    except UnidentifiedImageError as error:
        raise UnsupportedError(f"{path}: not a picture that can be read") from error
    except Image.DecompressionBombError as error:
        raise UnsupportedError(f"{path}: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise DecodeError(f"{path}: {error}") from error
