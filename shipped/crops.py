"""Score ready-made face crops, each alone, with image members: how the model card's numbers are made.

Reads  a list of crops in the contract's format, the faces, the members' checkpoints
Writes a CSV `filename,label` for quality.evaluate; label = probability of FAKE; several members are combined by the
       policy for a branch (contract, section 3)

    python -m shipped.crops DFDC-Kaggle_list/faces224_test.txt --output scores.csv
    python -m quality.evaluate scores.csv DFDC-Kaggle_list/faces224_test.csv
"""

import argparse
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from common.command import DEVICES, pick_device, run_script
from common.errors import BadInputError
from common.files import write_table
from common.images import resize
from common.workers import cores, progress
from faces.video import in_batches
from inference.conclude import combine
from inference.members import MODELS, SHIPPED, Member, choose_members
from inference.networks.runtimes import Networks, load_networks
from inference.scoring import Score, fake_probability
from inference.settings import choose_runtime
from training.face_tracks import FaceTracks

TOGETHER = 64  # crops in memory at a time
Name = TypeVar("Name", bound=Hashable)  # of a crop


def load_fastest(members: Mapping[str, Member], models: Path, device: str) -> Networks:
    """The members' networks at float32, by the runtime that `auto` chooses, on all cores. Raises as `load_networks`."""
    return load_networks(members, models, device, "fp32", choose_runtime("auto", members, models, device), cores())


def score_crops(networks: Networks, tracks: FaceTracks) -> dict[str, dict[str, float]]:
    """Each member's probability of FAKE for each crop of a list, by the crop's path below the faces.

    Raises BadInputError for a crop that cannot be read.
    """
    places = places_of(tracks)
    scores: dict[str, dict[str, float]] = {name: {} for name in networks.members}
    with progress(total=len(places), desc="crops", unit="crop") as bar:
        for some in in_batches(places, TOGETHER):
            crops = [tracks.read(*place) for place in some]
            paths = [tracks[number].frame(at) for number, at in some]
            for name, values in score_images(networks, crops).items():
                scores[name] |= dict(zip(paths, values, strict=True))
            bar.update(len(some))
    return scores


def places_of(tracks: FaceTracks) -> list[tuple[int, int]]:
    """Track and frame of every crop."""
    return [(number, at) for number, track in enumerate(tracks) for at in range(track.count)]


def score_images(networks: Networks, crops: Sequence[np.ndarray]) -> dict[str, list[float]]:
    """Each member's probability of FAKE for each crop, BGR uint8 [h, w, 3]."""
    scores = {}
    for name, seen in as_seen(networks, crops).items():
        (logits,) = networks.logits(name, [seen])
        scores[name] = fake_probability(logits).tolist()
    return scores


def as_seen(networks: Networks, crops: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Crops, BGR uint8 [h, w, 3], as each member sees them: RGB [N, side, side, 3]."""
    return {
        name: np.stack([resize(crop, member.size) for crop in crops]) for name, (member, _) in networks.members.items()
    }


def combined(members: Mapping[str, Member], scores: Mapping[str, Mapping[Name, float]]) -> dict[Name, float]:
    """The score of each crop from its members' scores, by the policy for a branch."""
    found = {}
    for path in next(iter(scores.values())):
        score = combine(members, {name: Score(mine[path], "crop") for name, mine in scores.items()}).final.value
        assert score is not None  # each member has one
        found[path] = score
    return found


def write_scores(path: Path, scores: Mapping[str, float]) -> None:
    """Write scores by crop as `filename,label`."""
    write_table(path, [("filename", "label"), *((crop, f"{score:.8f}") for crop, score in scores.items())])


def add_crop_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where crops lie, and which members see them."""
    parser.add_argument("--faces", type=Path, default=Path("DFDC-Kaggle_Alignedface"), metavar="DIR")
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help=f"default: {MODELS}")
    parser.add_argument("--members", default=",".join(SHIPPED), metavar="A,B", help=f"default: {','.join(SHIPPED)}")
    parser.add_argument("--device", choices=DEVICES, default="auto")


def image_members(names: str, models: Path) -> dict[str, Member]:
    """The members of a comma-separated list. Raises BadInputError for one that sees no single crops."""
    members = choose_members(names, models).members
    if any(member.branch != "image" for member in members.values()):
        raise BadInputError(f"--members {names}: a crop is for image members only")
    return members


def main() -> int:
    """Score the crops of a list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path, metavar="LIST")
    add_crop_options(parser)
    parser.add_argument("--output", type=Path, default=Path("scores.csv"), metavar="CSV", help="default: scores.csv")
    options = parser.parse_args()
    members = image_members(options.members, options.models)
    networks = load_fastest(members, options.models, pick_device(options.device))
    final = combined(members, score_crops(networks, FaceTracks(options.faces, options.list)))
    write_scores(options.output, final)
    print(f"crops: {len(final)} scored by {', '.join(members)}; {options.output}")
    return 0


if __name__ == "__main__":
    run_script(main)
