"""Face crops as they come out of other hands: smaller, and compressed as video is, for `shipped.sets --calibration`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.images import resize
from common.workers import progress
from faces.video import in_batches
from inference.networks.runtimes import Networks
from inference.sampling.look import measure
from inference.sampling.perturbed import RECODINGS, Recoding, recode
from inference.sampling.sampled import Conditions
from quality.evaluate import Truth
from shipped.crops import combined, places_of, score_images
from training.face_tracks import FaceTracks

FORMS = (
    RECODINGS["H.264 at crf 28"],
    RECODINGS["half size"],
    Recoding(scale=0.5, crf=33),
    Recoding(scale=0.25, crf=28),
)
TOGETHER = 16  # crops in memory at a time, each in all forms


class Form(NamedTuple):
    """A form of a crop: the crop's path, its truth, the members' score, its conditions."""

    crop: str
    truth: Truth
    score: float
    conditions: Conditions


def forms_of(crop: np.ndarray) -> Iterator[np.ndarray]:
    """The crop, BGR uint8 [h, w, 3], as it is and in each of FORMS."""
    yield crop
    for recoding in FORMS:
        yield recode([crop], recoding)[0]


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
                seen = measure([resize(image, side)[None]], [max(image.shape[:2])])
                found.append(Form(path, truth[path], score, seen))
            bar.update(len(some))
    return found


def together(networks: Networks, images: Sequence[np.ndarray]) -> list[float]:
    """The members' combined score of each image, by the policy for a branch."""
    members = {name: member for name, (member, _) in networks.members.items()}
    alone = {name: dict(enumerate(values)) for name, values in score_images(networks, images).items()}
    return list(combined(members, alone).values())
