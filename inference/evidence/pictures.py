"""The pictures of a page as data URLs: crops, the maps to lay over them, and the poster."""

import base64
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from common.images import encode_image
from common.spread import spread
from common.status import Status
from inference.evidence.facts import Pictures, StripCrop
from inference.evidence.maps import CropMap, Tested, has_place, suspicious
from inference.members import Branch, Member
from inference.results import FaceResult, Result
from inference.sampling.sampled import Sampled

STRIP = 12  # crops shown per face, at most
THUMBNAIL = 112  # their side in pixels
MAP_ODDS = 8.0  # log odds at the ends of the maps' colour scale
MAP_COLOURS = ((178, 114, 0), (0, 94, 213))  # BGR, towards REAL and towards FAKE; safe for colour-blind readers
MAP_ALPHA = 160  # opacity at the ends, of 255


def pictures_of(
    result: Result, sampled: Sampled, members: Mapping[str, Member], maps: Sequence[Sequence[CropMap]]
) -> Pictures:
    """The pictures of a video that could be read; `maps` are those of each face."""
    crop = middle_crop(sampled) if sampled.faces else None
    scored = zip(result.faces, maps, strict=True) if result.status == Status.OK else ()
    return Pictures(
        thumbnail=None if crop is None else thumbnail(crop),
        poster=data_url(sampled.poster) if sampled.poster else None,
        strips=tuple(strip(face, sampled, members, of_face) for face, of_face in scored),
    )


def thumbnail(image: np.ndarray) -> str:
    """An image, RGB uint8 [H, W, 3], scaled to THUMBNAIL pixels, as a data URL."""
    small = cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return data_url(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))


def data_url(image: np.ndarray | bytes, suffix: str = ".jpg") -> str:
    """An image as a data URL: BGR uint8 [H, W, 3] (`.png` also with alpha, [H, W, 4]), or the bytes of its file."""
    content = image if isinstance(image, bytes) else encode_image(image, suffix)
    kind = {".jpg": "jpeg", ".png": "png"}[suffix]
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def middle_crop(sampled: Sampled) -> np.ndarray | None:
    """The first face in the middle of the video, RGB uint8 [S, S, 3]; None if no member has a crop of it."""
    kinds = sampled.faces[0].crops
    crops = kinds[max(kinds, key=lambda kind: (len(kinds[kind]), kind))]
    return crops[len(crops) // 2] if len(crops) else None


def strip(
    face: FaceResult, sampled: Sampled, members: Mapping[str, Member], maps: Sequence[CropMap]
) -> tuple[StripCrop, ...]:
    """Up to STRIP crops of a scored face, with those of its maps that passed.

    The most suspicious come first; without image members they are spread over time.
    """
    kinds = {member.branch: member.crop_kind for member in members.values()}
    branch: Branch = "image" if "image" in kinds else "video"
    cut = sampled.faces[face.number - 1]
    crops, sources = cut.crops[kinds[branch]], sampled.crop_sources(branch, face.number - 1)
    by_score = suspicious(face.groups, cut.group)[:STRIP]
    tests = {crop_map.crop: crop_map.facts for crop_map in maps}
    passed = [crop_map for crop_map in maps if crop_map.tested.proven] if has_place(maps) else []
    overlays = {crop_map.crop: overlay(crop_map.tested) for crop_map in passed}
    return tuple(
        StripCrop(
            picture=thumbnail(crops[number]),
            time=sampled.timing.times[sources[number]],
            score=face.groups[number // cut.group] if branch == "image" else None,
            tested=tests.get(number),
            map=overlays.get(number),
        )
        for number in (by_score if branch == "image" else spread(len(crops), STRIP).tolist())
        if number < len(crops)
    )


def overlay(tested: Tested) -> str:
    """A map as a PNG to lay over its crop: orange towards FAKE, blue towards REAL, clear at 0, the mark outlined."""
    strength = np.clip(np.abs(tested.map) / MAP_ODDS, 0, 1)
    colours = np.where(tested.map[..., None] > 0, MAP_COLOURS[1], MAP_COLOURS[0]).astype(np.uint8)
    image = np.dstack([colours, (MAP_ALPHA * strength).astype(np.uint8)])
    large = cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_LINEAR)
    mark = cv2.resize(tested.mark.astype(np.uint8), (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_NEAREST)
    large[cv2.morphologyEx(mark, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0] = (255, 255, 255, 255)
    return data_url(large, ".png")


def map_scale() -> str:
    """The colour scale of the maps, as a CSS gradient."""
    stops = []
    for (blue, green, red), alphas in zip(MAP_COLOURS, ((MAP_ALPHA, 0), (0, MAP_ALPHA)), strict=True):
        stops += [f"rgba({red}, {green}, {blue}, {alpha / 255:.2f})" for alpha in alphas]
    return f"linear-gradient(90deg, {stops[0]}, {stops[1]} 50%, {stops[2]} 50%, {stops[3]})"
