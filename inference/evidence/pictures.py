"""The pictures of a page, as data URLs: crops, the maps to lay over them, the poster."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace

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

STRIP, THUMBNAIL = 12, 112  # pictures per face, their side in pixels
MAP_ODDS = 8.0  # log odds at the ends of the maps' colour scale
MAP_COLOURS = ((178, 114, 0), (0, 94, 213))  # BGR, towards REAL and towards FAKE: told apart by the colour-blind too
MAP_ALPHA = 160  # of 255, at the ends


def pictures_of(
    result: Result, sampled: Sampled, members: Mapping[str, Member], maps: Sequence[Sequence[CropMap]]
) -> Pictures:
    """The pictures of a video that could be read; `maps` are those of each face.

    A scored video also has up to STRIP crops of each face: the most suspicious first or, without image members, spread
    over time.
    """
    crop = middle_crop(sampled) if sampled.faces else None
    strips = []
    if result.status == Status.OK:
        for face, of_face in zip(result.faces, maps, strict=True):
            strips.append(tuple(with_map(*numbered, of_face) for numbered in strip(face, sampled, members)))
    return Pictures(
        thumbnail=None if crop is None else picture(crop),
        poster=data_url(sampled.poster) if sampled.poster else None,
        strips=tuple(strips),
    )


def picture(image: np.ndarray) -> str:
    """An RGB image uint8 [H, W, 3], scaled to THUMBNAIL pixels, as a data URL."""
    small = cv2.resize(image, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA)
    return data_url(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))


def data_url(image: np.ndarray | bytes, suffix: str = ".jpg") -> str:
    """A BGR image, or the content of an image's file, as a data URL; with an alpha channel as `.png`."""
    content = image if isinstance(image, bytes) else encode_image(image, suffix)
    kind = {".jpg": "jpeg", ".png": "png"}[suffix]
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def middle_crop(sampled: Sampled) -> np.ndarray | None:
    """The first face in the middle of the video; None if too few frames were sampled for any member."""
    kinds = sampled.faces[0].crops
    crops = kinds[max(kinds, key=lambda kind: (len(kinds[kind]), kind))]
    return crops[len(crops) // 2] if len(crops) else None


def strip(face: FaceResult, sampled: Sampled, members: Mapping[str, Member]) -> list[tuple[StripCrop, int]]:
    """The crops of one face that the page shows, each with its number among those that its branch sees."""
    kinds = {member.branch: member.crop_kind for member in members.values()}
    branch: Branch = "image" if "image" in kinds else "video"
    looked_at = sampled.faces[face.number - 1]
    crops, frames, size = looked_at.crops[kinds[branch]], sampled.frames_seen(branch), looked_at.group
    sources = sampled.sources(face.number - 1)
    by_score = suspicious(face.groups, size)[:STRIP]
    numbers = by_score if branch == "image" else spread(len(crops), STRIP).tolist()
    return [
        (
            StripCrop(
                picture(crops[number]),
                sampled.timing.times[sources[frames[number]]],
                face.groups[number // size] if branch == "image" else None,
            ),
            number,
        )
        for number in numbers
        if number < len(crops)
    ]


def with_map(crop: StripCrop, number: int, maps: Sequence[CropMap]) -> StripCrop:
    """A crop with what came of its map, if that was tested, and the map, if it is to be shown."""
    for crop_map in maps:
        if crop_map.crop == number:
            shown = has_place(maps) and crop_map.tested.proven
            return replace(crop, tested=crop_map.facts, map=overlay(crop_map.tested) if shown else None)
    return crop


def overlay(tested: Tested) -> str:
    """A map as a PNG to lay over its crop: towards FAKE orange, towards REAL blue, clear at 0, the mark outlined."""
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
