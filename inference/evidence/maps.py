"""Where in the face a score comes from: class activation maps, each of them tested before it is shown.

A map says what each place adds to the log odds of FAKE (image_based.models.class_activation). It is averaged over the
image members by their weights. That does not yet say that the place matters. So the marked fifth, where the map is
highest, is covered by the crop's mean colour, and the log odds must fall by more than when a fifth elsewhere is
covered. What is not marked makes four such fifths, each in another direction. The three where the map is highest are
tried.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from inference.evidence.facts import WhereFacts
from inference.members import Member
from inference.networks.runtimes import Networks
from inference.sampling.sampled import Sampled

SIDE = 96  # of a map, in pixels
SHARE = 0.2  # of the crop that is marked, and covered
ELSEWHERE = 3
SOFT = SIDE / 40  # pixels: the standard deviation of a cover's edge
MOST = 6  # crops of a face, the most suspicious


@dataclass(frozen=True)
class Tested:
    """The map of a crop, and whether it holds.

    `map` [SIDE, SIDE] holds log odds, `mark` [SIDE, SIDE] says where it is highest, both in the part of the face's
    square that the last image member sees, as on the page. `odds` are the crop's log odds, `fall` is by how much they
    fall when the mark is covered, `elsewhere` when other places are.
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
    """A tested map; `crop` is the crop's number among those that the image members see, `time` when it was seen."""

    crop: int
    time: float
    tested: Tested

    @property
    def facts(self) -> WhereFacts:
        """What the evidence holds of it."""
        one = self.tested
        elsewhere = sorted((round(fall, 4) for fall in one.elsewhere), reverse=True)
        return WhereFacts(round(self.time, 3), round(one.odds, 4), round(one.fall, 4), elsewhere, one.proven)


def maps_of(networks: Networks, sampled: Sampled, groups: Sequence[Sequence[float]]) -> list[list[CropMap]]:
    """Each face's maps of its MOST most suspicious crops; `groups` holds the scores of its groups.

    None of a face whose members see no images, or whose members' files give no map.
    """
    members = image_members(networks)
    fractions = {name: member.crop_fraction for name, member in members.items()}
    found, began = [], time.perf_counter()
    for number, scores in enumerate(groups):
        face, frames, sources = sampled.faces[number], sampled.frames_seen("image"), sampled.sources(number)
        wanted = [at for at in suspicious(scores, face.group)[:MOST] if at < len(frames)]
        crops = {name: face.crops[member.crop_kind][wanted] for name, member in members.items()}
        tested = try_maps(networks, crops, fractions) if wanted and crops else []
        times = [sampled.timing.times[sources[frames[at]]] for at in wanted]
        found.append([CropMap(*one) for one in zip(wanted, times, tested, strict=False)])
    networks.seconds["where"] += time.perf_counter() - began
    return found


def image_members(networks: Networks) -> dict[str, Member]:
    """The members that see images."""
    return {name: member for name, (member, _) in networks.members.items() if member.branch == "image"}


def suspicious(scores: Sequence[float], size: int) -> list[int]:
    """The numbers of the crops in the middle of each group of a face, the most suspicious first."""
    order = sorted(range(len(scores)), key=lambda at: -scores[at])
    return [at * size + size // 2 for at in order]


def try_maps(networks: Networks, crops: Mapping[str, np.ndarray], fractions: Mapping[str, float]) -> list[Tested]:
    """The maps of crops, given as each image member sees them, RGB uint8 [N, side, side, 3].

    `fractions` says which part of the face's square a member's crops show. None if a member gives no map, or one that
    is not finite.
    """
    shown = list(fractions.values())[-1]
    averaged = average(networks, crops, {name: fraction / shown for name, fraction in fractions.items()})
    if averaged is None:
        return []
    odds, maps = averaged
    places = [[marked(one), *elsewhere(marked(one), one)] for one in maps]
    covered = {
        name: np.stack(
            [
                cover(crop, place, shown / fractions[name])
                for crop, mine in zip(crops[name], places, strict=True)
                for place in mine
            ]
        )
        for name in crops
    }
    after = log_odds(networks, covered).reshape(len(maps), 1 + ELSEWHERE)
    falls = odds[:, None] - after
    if not np.isfinite(falls).all():
        return []
    return [
        Tested(one, mine[0], float(own), float(fall[0]), tuple(float(other) for other in fall[1:]))
        for one, mine, own, fall in zip(maps, places, odds, falls, strict=True)
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
        found = networks.maps(name, crops[name])
        if found is None or not np.isfinite(found).all():
            return None
        odds.append(found.mean(axis=(1, 2)))
        maps.append(np.stack([in_shown(one, zooms[name]) for one in found]))
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
    found = np.zeros((SIDE, SIDE), np.float32)
    start = (SIDE - side) // 2
    found[start : start + side, start : start + side] = large
    return found


def marked(values: np.ndarray) -> np.ndarray:
    """The SHARE of the pixels of a map [SIDE, SIDE] where it is highest, as bool."""
    found = np.zeros(values.size, bool)
    found[np.argsort(-values.ravel(), kind="stable")[: round(SHARE * values.size)]] = True
    return found.reshape(values.shape)


def elsewhere(mark: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """ELSEWHERE other places of the mark's area, bool [SIDE, SIDE] each: those where the map is highest.

    The rest of the picture is cut into sectors around its middle, the first of which begins in the mark's direction.
    """
    y, x = np.indices(mark.shape) - (np.array(mark.shape)[:, None, None] - 1) / 2
    towards = np.arctan2(y[mark].mean(), x[mark].mean())
    angles = ((np.arctan2(y, x) - towards) % (2 * np.pi)).ravel()
    rest = np.flatnonzero(~mark.ravel())
    parts = np.array_split(rest[np.argsort(angles[rest], kind="stable")], round(1 / SHARE) - 1)
    best = sorted(parts, key=lambda part: -float(values.ravel()[part].mean()))[:ELSEWHERE]
    found = []
    for part in best:
        place = np.zeros(mark.size, bool)
        place[part] = True
        found.append(place.reshape(mark.shape))
    return found


def cover(crop: np.ndarray, place: np.ndarray, zoom: float) -> np.ndarray:
    """A crop, RGB uint8 [S, S, 3], in which a place [SIDE, SIDE] has the crop's mean colour, with a soft edge.

    `zoom` is the side of what the place is a part of, over the side of what the crop shows.
    """
    soft = cv2.GaussianBlur(place.astype(np.float32), (0, 0), SOFT)
    share = cv2.resize(in_shown(soft, zoom), crop.shape[1::-1])[:, :, None]
    share = np.clip(share, 0, 1)
    return np.round(crop * (1 - share) + crop.reshape(-1, 3).mean(axis=0) * share).astype(np.uint8)


def has_place(maps: Sequence[CropMap]) -> bool:
    """Whether a face's score has a place: at least half of its maps hold, because by chance one often does."""
    return 2 * sum(one.tested.proven for one in maps) >= max(len(maps), 1)


def describe_place(maps: Sequence[CropMap]) -> str:
    """What the maps of a face say, in sentences; "" if there are none."""
    if not maps:
        return ""
    proven = sum(one.tested.proven for one in maps)
    counted = (
        f"in {proven} of {len(maps)} tested crops, covering the marked fifth lowers it by more than covering as much "
        "at any of three other places"
    )
    if not has_place(maps):
        return f"The score has no place in the face: {counted}. Half of them would be enough."
    return (
        f"The score has a place in the face: {counted}. Their maps can be shown. They show where the score comes from, "
        "not what was changed."
    )
