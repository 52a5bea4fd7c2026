"""Sets of single face crops, scored by image members, as `shipped.sets`, `maps` and `release` need them."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from common.command import DEVICES, cores, pick_device
from common.errors import BadInputError
from common.images import resize
from common.workers import progress
from faces.video import in_batches
from inference.conclude import combine
from inference.evidence.maps import image_members
from inference.members import MODELS, SHIPPED, Member, choose_members
from inference.networks.runtimes import Networks, load_networks
from inference.scoring import Score, fake_probability
from inference.settings import choose_runtime
from quality.sets.precropped import require_image_members
from training.face_tracks import FaceTracks

CHOOSE_BY = ("faces224_calibration", "ffpp_val", "celebdf_val", "inswapper_val", "utk_val", "lfw_val")
HELD_OUT = "faces224_test"
SETS = (*CHOOSE_BY, HELD_OUT)
SET_NAMES = dict(  # for people
    zip(
        SETS,
        ("DFDC's calibration half", "FaceForensics++", "Celeb-DF", "inswapper", "UTKFace", "LFW", "DFDC's test half"),
        strict=True,
    )
)
BATCH = 64  # crops in memory at a time
CropIndex = tuple[int, int]  # the number of a track, and of one of its frames


def add_set_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which sets are scored, and by which members."""
    parser.add_argument("--sets", metavar="A,B", help=f"default: those with a list of {', '.join(SETS)}")
    parser.add_argument("--lists", type=Path, default=Path("DFDC-Kaggle_list"), metavar="DIR")
    parser.add_argument("--faces", type=Path, default=Path("DFDC-Kaggle_Alignedface"), metavar="DIR")
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help=f"default: {MODELS}")
    parser.add_argument("--members", default=",".join(SHIPPED), metavar="A,B", help=f"default: {','.join(SHIPPED)}")
    parser.add_argument("--device", choices=DEVICES, default="auto")


def chosen_sets(options: argparse.Namespace) -> list[str]:
    """The names of the chosen sets, or of those of SETS that have a list. Raises BadInputError if there are none."""
    if options.sets is not None:
        return list(options.sets.split(","))
    names = [name for name in SETS if (options.lists / f"{name}.txt").is_file()]
    if not names:
        raise BadInputError(f"{options.lists} holds none of {', '.join(SETS)}: run make_crop_lists.py first")
    return names


def load_chosen(options: argparse.Namespace) -> Networks:
    """The networks of the chosen members. Raises BadInputError for one that is unknown or needs clips."""
    members = choose_members(options.members, options.models).members
    require_image_members(members)
    return load_fastest(members, options.models, pick_device(options.device))


def load_fastest(members: Mapping[str, Member], models: Path, device: str) -> Networks:
    """The members' networks at float32, in the runtime that `auto` chooses, on all cores. Raises as `load_networks`."""
    return load_networks(members, models, device, "fp32", choose_runtime("auto", members, models, device), cores())


def crop_indices(tracks: FaceTracks) -> list[CropIndex]:
    """The indices of every crop of a list, in its order."""
    return [(number, frame) for number, track in enumerate(tracks) for frame in range(track.count)]


def read_batches(
    tracks: FaceTracks, indices: Sequence[CropIndex], size: int, desc: str
) -> Iterator[tuple[list[CropIndex], list[np.ndarray]]]:
    """Yield `size` crops at a time, BGR uint8 [h, w, 3], with their indices, under a progress bar called `desc`.

    Raises BadInputError for a crop that cannot be read.
    """
    with progress(total=len(indices), desc=desc, unit="crop") as bar:
        for batch in in_batches(indices, size):
            yield batch, [tracks.read(*index) for index in batch]
            bar.update(len(batch))


def score_crops(networks: Networks, tracks: FaceTracks) -> dict[str, np.ndarray]:
    """Each member's probability of FAKE, float [N] in [0, 1], of the N crops of a list, in its order.

    Raises BadInputError for a crop that cannot be read.
    """
    batches = read_batches(tracks, crop_indices(tracks), BATCH, "crops")
    scored = [score_images(networks, crops) for _, crops in batches]
    return {name: np.concatenate([scores[name] for scores in scored]) for name in networks.members}


def score_images(networks: Networks, crops: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Each member's probability of FAKE, float [N] in [0, 1], of N crops, BGR uint8 [h, w, 3]."""
    scores = {}
    for name, pixels in member_inputs(networks, crops).items():
        (logits,) = networks.logits(name, [pixels])
        scores[name] = fake_probability(logits).astype(float)
    return scores


def member_inputs(networks: Networks, crops: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """N crops, BGR uint8 [h, w, 3], as each member sees them: RGB uint8 [N, side, side, 3]."""
    members = image_members(networks)
    return {name: np.stack([resize(crop, member.size) for crop in crops]) for name, member in members.items()}


def combine_scores(networks: Networks, scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """The score, float [N] in [0, 1], of N crops by each member's scores [N], by the policy for a branch."""
    members = image_members(networks)
    combined = []
    for values in zip(*scores.values(), strict=True):
        by_member = {name: Score(value, "crop") for name, value in zip(scores, values, strict=True)}
        combined.append(combine(members, by_member).final.value)
    return np.array(combined, float)
