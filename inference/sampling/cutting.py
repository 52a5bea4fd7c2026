"""From faces that were found to the crops that members see, of the video as it is and of its other forms."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import replace

import numpy as np

from common.images import resize
from faces.one_pass import Faces, crop_pixels
from faces.video import VideoInfo
from inference.members import CropKind
from inference.sampling.conditions import Conditions, conditions_of
from inference.sampling.perturbed import Squares
from inference.sampling.sampled import Face, Formed, frames_of


class Kept:
    """The squares of each face, BGR uint8 [S, S, 3], in some sampled frames."""

    def __init__(self, frames: Iterable[int], faces: int) -> None:
        self.frames = frozenset(frames)
        self.squares: list[dict[int, np.ndarray]] = [{} for _ in range(faces)]


def formed_of(found: list[Face], squares: list[Squares], kinds: Set[CropKind], info: VideoInfo) -> Formed:
    """A form of a video, from the squares of each face in the frames that the image members see."""
    image_kinds = [kind for kind in kinds if kind.branch == "image"]
    faces = [
        replace(
            face,
            crops={
                kind: np.stack([resize(middle(one, kind.crop_fraction), kind.side) for one in mine])
                for kind in image_kinds
            },
            squares=[square._replace(size=len(mine[0])) for square in face.squares],
        )
        for face, mine in zip(found, squares, strict=True)
    ]
    return Formed(faces, measured([face for face in faces if face.decides], info))


def cut_crops(faces: Faces, kinds: Set[CropKind], kept: Kept) -> list[dict[CropKind, np.ndarray]]:
    """Each face's crops of each kind, cut only from the frames that the kind's branch sees, or that are to be kept."""
    still = faces.info.still
    seen_by = {branch: frames_of(branch, faces.frames, still) for branch in {kind.branch for kind in kinds}}
    places = {branch: {frame: at for at, frame in enumerate(frames)} for branch, frames in seen_by.items()}
    seen = kept.frames.union(*places.values())
    faces.crops = {
        source: needed
        for source, crops in faces.crops.items()
        if (needed := [crop for crop in crops if crop.frame in seen])
    }
    found = [
        {kind: np.empty((len(places[kind.branch]), kind.side, kind.side, 3), np.uint8) for kind in kinds}
        for _ in faces.squares
    ]
    for pixels in crop_pixels(faces):
        for crop, image in pixels:
            if crop.frame in kept.frames:
                kept.squares[crop.face][crop.frame] = image.copy()
            wanted = [kind for kind in kinds if crop.frame in places[kind.branch]]
            views = {kind[1:] for kind in wanted}  # two branches may need the same crop
            small = {(side, fraction): resize(middle(image, fraction), side) for side, fraction in views}
            for kind in wanted:
                found[crop.face][kind][places[kind.branch][crop.frame]] = small[kind[1:]]
    return found


def measured(faces: Sequence[Face], info: VideoInfo) -> Conditions | None:
    """The conditions of faces that have crops, by those that show most of the face; None if there are none."""
    kinds = {kind for face in faces for kind, crops in face.crops.items() if len(crops)}
    if not kinds:
        return None
    kind = max(kinds, key=lambda kind: (kind.branch == "image", kind.crop_fraction, kind.side))
    sides = [square.size * kind.crop_fraction for face in faces for square in face.squares]
    return conditions_of([face.crops[kind] for face in faces], sides, info.bits_per_pixel)


def middle(image: np.ndarray, fraction: float) -> np.ndarray:
    """The middle of a square image [S, S, 3], `fraction` of its side wide, as a view."""
    side = max(round(len(image) * fraction), 1)
    start = (len(image) - side) // 2
    return image[start : start + side, start : start + side]
