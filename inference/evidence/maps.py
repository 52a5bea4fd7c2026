"""Where in the face a score comes from: class activation maps, each of them tested before it is shown.

A map says what each place adds to the log odds of FAKE (image_based.models.class_activation; Zhou et al., CVPR 2016).
It is averaged over the image members by their weights.

A bright spot does not yet say that the place matters. So the marked fifth of the crop, where the map is highest, is
covered with the crop's mean colour. The map passes if the log odds then fall by more than when a fifth elsewhere is
covered. The unmarked rest is cut into four such fifths, each in another direction from the middle; the three where the
map is highest are tried.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from inference.evidence.facts import MapFacts
from inference.members import Member
from inference.networks.runtimes import Networks
from inference.sampling.sampled import Sampled

SIDE = 96  # of a map, in pixels
SHARE = 0.2  # of the crop: marked, and covered
ELSEWHERE = 3  # other places that are covered
SOFT = SIDE / 40  # pixels: standard deviation of the edge of a cover
MOST = 6  # crops tested per face: the most suspicious


@dataclass(frozen=True)
class Tested:
    """The map of a crop, and how its test ended.

    `map`, float [SIDE, SIDE], holds log odds; `mark`, bool [SIDE, SIDE], is where it is highest. Both show the part of
    the face's square that the last image member sees, as the page does. `odds` are the crop's log odds of FAKE, `fall`
    is by how much they fall when the mark is covered, `elsewhere` when each of the other places is.
    """

    map: np.ndarray
    mark: np.ndarray
    odds: float
    fall: float
    elsewhere: tuple[float, ...]

    @property
    def proven(self) -> bool:
        """Whether the marked place matters, and more than the others."""
        return self.fall > max(0.0, *self.elsewhere)


class CropMap(NamedTuple):
    """A tested map. `crop` is the crop's index among those that the image members see, `time` when it was seen."""

    crop: int
    time: float
    tested: Tested

    @property
    def facts(self) -> MapFacts:
        """What the evidence holds of it."""
        elsewhere = sorted((round(fall, 4) for fall in self.tested.elsewhere), reverse=True)
        odds, fall = round(self.tested.odds, 4), round(self.tested.fall, 4)
        return MapFacts(round(self.time, 3), odds, fall, elsewhere, self.tested.proven)


def maps_of(networks: Networks, sampled: Sampled, groups: Sequence[Sequence[float]]) -> list[list[CropMap]]:
    """The tested maps of each face's most suspicious crops, at most MOST.

    `groups` holds the scores of each face's groups. A face's list is empty if no image member sees it, or if a member's
    file gives no maps.
    """
    members = image_members(networks)
    fractions = {name: member.crop_fraction for name, member in members.items()}
    maps, began = [], time.perf_counter()
    for index, scores in enumerate(groups):
        face, sources = sampled.faces[index], sampled.crop_sources("image", index)
        ranked = [number for number in suspicious(scores, face.group)[:MOST] if number < len(sources)]
        first: dict[int, int] = {}  # crop by its frame: one that stands in for others is tested once
        for number in ranked:
            first.setdefault(sources[number], number)
        wanted = list(first.values())
        crops = {name: face.crops[member.crop_kind][wanted] for name, member in members.items()}
        tested = try_maps(networks, crops, fractions) if wanted and crops else []
        maps.append(
            [
                CropMap(number, sampled.timing.times[sources[number]], of_crop)
                for number, of_crop in zip(wanted, tested, strict=False)  # without maps, `tested` is empty
            ]
        )
    networks.seconds["where"] += time.perf_counter() - began
    return maps


def image_members(networks: Networks) -> dict[str, Member]:
    """The members that see images."""
    return {name: member for name, (member, _) in networks.members.items() if member.branch == "image"}


def suspicious(scores: Sequence[float], size: int) -> list[int]:
    """The index of the middle crop of each of a face's groups of `size` crops, the most suspicious group first."""
    order = sorted(range(len(scores)), key=lambda group: -scores[group])
    return [group * size + size // 2 for group in order]


def try_maps(networks: Networks, crops: Mapping[str, np.ndarray], fractions: Mapping[str, float]) -> list[Tested]:
    """The tested maps of crops, given as each image member sees them: RGB uint8 [N, side, side, 3].

    `fractions` says which part of the face's square a member's crops show, as `CropKind.crop_fraction`. Returns an
    empty list if a member gives no map, or one that is not finite.
    """
    shown = list(fractions.values())[-1]
    averaged = average(networks, crops, {name: fraction / shown for name, fraction in fractions.items()})
    if averaged is None:
        return []
    odds, maps = averaged
    marks = [marked(values) for values in maps]
    places = [[mark, *elsewhere(mark, values)] for mark, values in zip(marks, maps, strict=True)]
    covered = {
        name: np.stack(
            [
                cover(crop, place, shown / fractions[name])
                for crop, of_crop in zip(crops[name], places, strict=True)
                for place in of_crop
            ]
        )
        for name in crops
    }
    falls = odds[:, None] - log_odds(networks, covered).reshape(len(maps), 1 + ELSEWHERE)
    if not np.isfinite(falls).all():
        return []
    return [
        Tested(values, of_crop[0], float(odds_of_crop), float(fall[0]), tuple(float(other) for other in fall[1:]))
        for values, of_crop, odds_of_crop, fall in zip(maps, places, odds, falls, strict=True)
    ]


def average(
    networks: Networks, crops: Mapping[str, np.ndarray], zooms: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Log odds [N] and maps [N, SIDE, SIDE] of crops: the image members' weighted mean; `zooms` as for `in_shown`.

    None if a member gives no map, or one that is not finite.
    """
    members = image_members(networks)
    odds, maps, weights = [], [], [member.weight for member in members.values()]
    for name in members:
        of_member = networks.maps(name, crops[name])
        if of_member is None or not np.isfinite(of_member).all():
            return None
        odds.append(of_member.mean(axis=(1, 2)))
        maps.append(np.stack([in_shown(values, zooms[name]) for values in of_member]))
    return np.average(odds, axis=0, weights=weights), np.average(maps, axis=0, weights=weights)


def log_odds(networks: Networks, crops: Mapping[str, np.ndarray]) -> np.ndarray:
    """The members' weighted mean of the log odds of crops, [N], at float32."""
    members = image_members(networks)
    weights = np.array([member.weight for member in members.values()])
    each = [np.diff(networks.logits(name, [crops[name]], exact=True)[0], axis=1)[:, 0] for name in members]
    return np.average(each, axis=0, weights=weights)


def in_shown(values: np.ndarray, zoom: float) -> np.ndarray:
    """A map [h, w] of a part of the face's square as [SIDE, SIDE] of the part that is shown, 0 outside.

    `zoom` is the side of the first part over that of the second.
    """
    side = max(round(SIDE * zoom), 1)
    large = cv2.resize(values.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    if side >= SIDE:
        start = (side - SIDE) // 2
        return large[start : start + SIDE, start : start + SIDE]
    padded = np.zeros((SIDE, SIDE), np.float32)
    start = (SIDE - side) // 2
    padded[start : start + side, start : start + side] = large
    return padded


def marked(values: np.ndarray) -> np.ndarray:
    """Where a map [SIDE, SIDE] is highest: bool [SIDE, SIDE], True in SHARE of the pixels."""
    return mask_of(np.argsort(-values.ravel(), kind="stable")[: round(SHARE * values.size)], values.shape)


def elsewhere(mark: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """ELSEWHERE other places as large as the mark, bool [SIDE, SIDE] each: those where the map is highest.

    The unmarked rest is cut into sectors around the middle. The first of them starts in the direction of the mark.
    """
    y, x = np.indices(mark.shape) - (np.array(mark.shape)[:, None, None] - 1) / 2
    towards = np.arctan2(y[mark].mean(), x[mark].mean())
    angles = ((np.arctan2(y, x) - towards) % (2 * np.pi)).ravel()
    rest = np.flatnonzero(~mark.ravel())
    sectors = np.array_split(rest[np.argsort(angles[rest], kind="stable")], round(1 / SHARE) - 1)
    best = sorted(sectors, key=lambda sector: -float(values.ravel()[sector].mean()))[:ELSEWHERE]
    return [mask_of(sector, mark.shape) for sector in best]


def mask_of(places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A bool array of this shape that is True at some places, which are indices [N] into its flat form."""
    mask = np.zeros(shape, bool)
    mask.ravel()[places] = True
    return mask


def cover(crop: np.ndarray, place: np.ndarray, zoom: float) -> np.ndarray:
    """A crop, RGB uint8 [S, S, 3], with a place, bool [SIDE, SIDE], in the crop's mean colour, with a soft edge.

    `zoom` is the side of the part that `place` shows over the side of the part that the crop shows.
    """
    soft = cv2.GaussianBlur(place.astype(np.float32), (0, 0), SOFT)
    share = cv2.resize(in_shown(soft, zoom), crop.shape[1::-1])[:, :, None]
    share = np.clip(share, 0, 1)
    return np.round(crop * (1 - share) + crop.reshape(-1, 3).mean(axis=0) * share).astype(np.uint8)


def has_place(maps: Sequence[CropMap]) -> bool:
    """Whether a face's score can be located: at least half of its maps pass, because by chance one often does."""
    return 2 * sum(crop_map.tested.proven for crop_map in maps) >= max(len(maps), 1)


def describe_place(maps: Sequence[CropMap]) -> str:
    """What the tests of a face's maps say, in sentences; "" if there are no maps."""
    if not maps:
        return ""
    proven = sum(crop_map.tested.proven for crop_map in maps)
    test = (
        f"in {proven} of {len(maps)} tested crops, covering the marked fifth of the crop lowers the score by more than "
        "covering as much at any of three other places; a map passes this test by chance one time in four"
    )
    if not has_place(maps):
        return f"The score cannot be located in the face: {test}. At least half of the crops would be needed."
    return (
        f"The score can be located in the face: {test}. The maps of these crops can be shown. They show where the "
        "score comes from, not what was changed."
    )
