"""Still pictures (JPEG, PNG, WebP, AVIF, HEIC), read by Pillow and pillow-heif and turned upright."""

import struct
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from faces.containers import PNG_START, picture_format
from faces.streams import DecodeError, Orientation, UnsupportedError
from faces.video import Frame, VideoInfo

EXIF_ORIENTATION = 0x0112
# By the value of EXIF's tag: quarter turns, counterclockwise, and whether left and right then change places.
ORIENTATIONS = {
    **{1: Orientation(), 2: Orientation(0, True), 3: Orientation(2), 4: Orientation(2, True)},
    **{5: Orientation(3, True), 6: Orientation(3), 7: Orientation(1, True), 8: Orientation(1)},
}
XMP = ("xmp", "XML:com.adobe.xmp")
MAX_PIXELS = 250_000_000  # a larger picture is refused before it is decoded
Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow's own limit is lower than the pixels of some phones


class Still:
    """A picture as a video of one frame, with the interface of `faces.video.Reading`.

    Only the first frame of an animated picture counts. Transparent parts are laid on white, as most viewers show them.
    The constructor raises UnsupportedError, DecodeError or FileNotFoundError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames, self.damaged, self.concealed = 1, 0, 0
        self.losses: list[str] = []
        self.first, self.duration = None, 0.0
        with open_picture(path) as picture:
            for key in XMP:  # Pillow takes the orientation from there if Exif has none; viewers do not
                picture.info.pop(key, None)
            orientation = ORIENTATIONS.get(picture.getexif().get(EXIF_ORIENTATION, 1), Orientation())
            pictures: int = getattr(picture, "n_frames", 1)
            stored, transparent = as_shown(picture)
        self.image = np.ascontiguousarray(orientation.upright(stored))
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
            transparent=transparent,
            pictures=pictures,
        )

    def __iter__(self) -> Iterator[Frame]:
        yield Frame(0, None, self.image)

    def reread(self, numbers: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
        """The image, BGR uint8 [H, W, 3], under each number, as `faces.video.read_some` yields frames."""
        yield from ((number, self.image) for number in numbers)


@contextmanager
def open_picture(path: Path) -> Iterator[Image.Image]:
    """Open a picture; errors of the block are its errors.

    Raises UnsupportedError if it is not of a format that is read or too large, DecodeError if it is damaged.
    """
    path.stat()
    kind = picture_format(path)
    try:
        with warnings.catch_warnings(action="ignore"), _open(path, kind) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise UnsupportedError(_too_large(path))
            yield picture
    except UnidentifiedImageError as error:
        if kind in ("AVIF", "HEIF"):  # these are only identified as a whole
            raise DecodeError(f"{path}: cut off or damaged, nothing in it can be read") from error
        raise UnsupportedError(f"{path}: not a picture that can be read") from error
    except Image.DecompressionBombError as error:
        raise UnsupportedError(_too_large(path)) from error
    except (OSError, SyntaxError, ValueError, RuntimeError, EOFError, struct.error) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise DecodeError(f"{path}: {error}") from error


def _too_large(path: Path) -> str:
    return f"{path}: more than {MAX_PIXELS // 1_000_000} million pixels, which is more than is read"


def _open(path: Path, kind: str | None) -> Image.Image:
    """Open a picture of this kind, a PNG without its texts and profile if these are larger than Pillow reads."""
    if kind is None:
        raise UnidentifiedImageError
    if kind == "HEIF":
        import pillow_heif  # only here: it takes long to load, and such files are rare

        pillow_heif.register_heif_opener()
    try:
        return Image.open(path, formats=(kind,))
    except ValueError:
        if kind != "PNG":
            raise
        return Image.open(BytesIO(without_texts(path.read_bytes())), formats=(kind,))


def without_texts(content: bytes) -> bytes:
    """A PNG file without its texts and colour profile."""
    kept, position = [PNG_START], len(PNG_START)
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + length + 12
        if kind not in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
            kept.append(content[position:end])
        position = end
    return b"".join(kept)


def as_shown(picture: Image.Image) -> tuple[np.ndarray, float]:
    """The stored pixels, BGR uint8 [height, width, 3], on white, and the share of them that are partly transparent.

    Grey levels of 16 bits are divided by 257.
    """
    if picture.mode.startswith("I"):
        levels = np.clip(np.asarray(picture).astype(np.int64), 0, 65535)
        grey = ((levels + 128) // 257).astype(np.uint8)
        hidden = levels == picture.info.get("transparency", -1)  # a PNG may call one level transparent
        grey[hidden] = 255
        return np.repeat(grey[..., None], 3, axis=2), float(hidden.mean())
    if not picture.has_transparency_data:
        return np.asarray(picture.convert("RGB"))[..., ::-1], 0.0
    full = picture.convert("RGBA")
    transparent = float((np.asarray(full.getchannel("A")) < 255).mean())
    ground = Image.new("RGBA", full.size, "white")
    return np.asarray(Image.alpha_composite(ground, full).convert("RGB"))[..., ::-1], transparent
