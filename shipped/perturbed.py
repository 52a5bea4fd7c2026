"""Face crops as they come out of other hands: smaller, and compressed as video is, for `shipped.sets --calibration`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from common.images import resize
from common.workers import progress
from faces.video import in_batches
from inference.networks.batches import Networks
from inference.sampling.conditions import Conditions, conditions_of
from inference.sampling.perturbed import recode
from quality.evaluate import Truth
from shipped.crops import combined, places_of, score_images
from training.face_tracks import FaceTracks

FORMS = ((1.0, None), (1.0, 28), (0.5, 23), (0.5, 33), (0.25, 28))  # scale, and H.264's crf, None: as it is
TOGETHER = 16  # crops in memory at a time, each in all forms


class Form(NamedTuple):
    """A form of a crop: the crop's path, its truth, the members' score, its conditions."""

    crop: str
    truth: Truth
    score: float
    conditions: Conditions


def forms_of(crop: np.ndarray) -> Iterator[np.ndarray]:
    """The crop, BGR uint8 [h, w, 3], in each of FORMS."""
    for scale, crf in FORMS:
        image = crop if scale == 1 else cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        yield image if crf is None else recode([image], crf)[0]


def score_forms(networks: Networks, faces: Path, list_file: Path, truth: Mapping[str, Truth]) -> list[Form]:
    """Score every crop of a list in each form; `truth` by the crop's path."""
    tracks = FaceTracks(faces, list_file)
    places = places_of(tracks)
    side = max(member.size for member, _ in networks.members.values())
    found = []
    with progress(total=len(places), desc=list_file.stem, unit="crop") as bar:
        for some in in_batches(places, TOGETHER):
            images = [
                (tracks[number].frame(at), form) for number, at in some for form in forms_of(tracks.read(number, at))
            ]
            scores = together(networks, [image for _, image in images])
            for (path, image), score in zip(images, scores, strict=True):
                seen = conditions_of([resize(image, side)[None]], [max(image.shape[:2])])
                found.append(Form(path, truth[path], score, seen))
            bar.update(len(some))
    return found


def together(networks: Networks, images: Sequence[np.ndarray]) -> list[float]:
    """The members' combined score of each image, by the policy for a branch."""
    members = {name: member for name, (member, _) in networks.members.items()}
    alone = {name: dict(enumerate(values)) for name, values in score_images(networks, images).items()}
    return list(combined(members, alone).values())
