"""Perturbed face crops, as others might pass them on: smaller, and compressed as video is.

`shipped.sets --calibration` scores them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.images import resize
from inference.evidence.maps import image_members
from inference.networks.runtimes import Networks
from inference.sampling.look import measure
from inference.sampling.perturbed import RECODINGS, Recoding, recode
from inference.sampling.sampled import Conditions
from quality.score_files import Truth
from shipped.crops import combine_scores, crop_indices, read_batches, score_images
from training.face_tracks import FaceTracks

UNCHANGED = "unchanged"
PERTURBATIONS = {
    "crf 28": RECODINGS["H.264 at crf 28"],
    "half size, crf 23": RECODINGS["half size"],
    "half size, crf 33": Recoding(scale=0.5, crf=33),
    "quarter size, crf 28": Recoding(scale=0.25, crf=28),
}
BATCH = 16  # crops in memory at a time, each in all versions


class PerturbedCrop(NamedTuple):
    """A version of a crop: the crop's path, the version's name, its truth, the members' score in [0, 1], conditions."""

    crop: str
    version: str
    truth: Truth
    score: float
    conditions: Conditions


def versions_of(crop: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a crop, BGR uint8 [h, w, 3], as it is, and after each of PERTURBATIONS, which may make it smaller."""
    yield UNCHANGED, crop
    for name, recoding in PERTURBATIONS.items():
        yield name, recode([crop], recoding)[0]


def score_versions(networks: Networks, faces: Path, list_file: Path, truth: Mapping[str, Truth]) -> list[PerturbedCrop]:
    """Score every crop of a list in each version; `truth` by the crop's path.

    Raises BadInputError for a crop that cannot be read.
    """
    tracks = FaceTracks(faces, list_file)
    side = max(member.size for member in image_members(networks).values())
    scored = []
    for indices, crops in read_batches(tracks, crop_indices(tracks), BATCH, list_file.stem):
        paths = [tracks[number].frame(frame) for number, frame in indices]
        versions = [(path, *version) for path, crop in zip(paths, crops, strict=True) for version in versions_of(crop)]
        scores = combine_scores(networks, score_images(networks, [image for _, _, image in versions]))
        for (path, version, image), score in zip(versions, scores.tolist(), strict=True):
            conditions = measure([resize(image, side)[None]], [max(image.shape[:2])])
            scored.append(PerturbedCrop(path, version, truth[path], score, conditions))
    return scored
