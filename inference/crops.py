"""Score ready-made face crops, each alone, with image members: how the model card's numbers are made.

Reads  a list of crops in the contract's format, the faces, the members' checkpoints
Writes a CSV `filename,label` for inference.evaluate; label = probability of FAKE, of several
       members by the contract's policy for a branch (section 3)

    python -m inference.crops DFDC-Kaggle_list/faces224_test.txt --output scores.csv
    python -m inference.evaluate scores.csv DFDC-Kaggle_list/faces224_test.csv
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from common.atomic import write_table
from common.device import CHOICES, keep_freed_memory, pick_device
from common.errors import BadInputError
from common.images import resize
from common.stage import progress, run_script
from inference.members import KNOWN, MODELS, SHIPPED, choose_members
from inference.networks import Networks, load_networks
from inference.scoring import Vote, branch_score, fake_probability
from training.face_tracks import FaceTracks

TOGETHER = 64  # crops in memory


def score_crops(networks: Networks, name: str, tracks: FaceTracks) -> dict[str, float]:
    """The probability of FAKE of each crop of a list, by its path. Raises BadInputError for one that cannot be read."""
    size, places = (
        networks.members[name][0].size,
        [(number, at) for number, track in enumerate(tracks) for at in range(track.count)],
    )
    scores: dict[str, float] = {}
    with progress(total=len(places), desc="crops", unit="crop") as bar:
        for some in (places[start : start + TOGETHER] for start in range(0, len(places), TOGETHER)):
            crops = np.stack([resize(tracks.read(*place), size) for place in some])
            (logits,) = networks.logits(name, [crops])
            scores |= dict(zip(paths(tracks, some), fake_probability(logits).tolist(), strict=True))
            bar.update(len(some))
    return scores


def paths(tracks: FaceTracks, places: list[tuple[int, int]]) -> Iterator[str]:
    """The crops' paths below the faces."""
    return (tracks[number].frame(at) for number, at in places)


def together(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The scores of crops by member and path -> the ensemble's by path."""
    paths = next(iter(scores.values()))
    votes = {path: [Vote("image", KNOWN[name].weight, mine[path]) for name, mine in scores.items()] for path in paths}
    return {path: branch_score(these, "image").value for path, these in votes.items()}


def main() -> int:
    """Score the crops of a list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path, metavar="LIST")
    parser.add_argument("--faces", type=Path, default=Path("DFDC-Kaggle_Alignedface"), metavar="DIR")
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help=f"default: {MODELS}")
    parser.add_argument("--members", default=",".join(SHIPPED), metavar="A,B", help=f"default: {','.join(SHIPPED)}")
    parser.add_argument("--output", type=Path, default=Path("scores.csv"), metavar="CSV", help="default: scores.csv")
    parser.add_argument("--device", choices=CHOICES, default="auto")
    options = parser.parse_args()
    members = choose_members(options.members, options.models).members
    if any(member.branch != "image" for member in members.values()):
        raise BadInputError(f"--members {options.members}: a crop is for image members only")
    keep_freed_memory()
    networks = load_networks(members, options.models, pick_device(options.device), "fp32")
    tracks = FaceTracks(options.faces, options.list)
    scores = together({name: score_crops(networks, name, tracks) for name in members})
    write_table(options.output, [("filename", "label"), *((name, f"{score:.8f}") for name, score in scores.items())])
    print(f"crops: {len(scores)} scored by {', '.join(members)}; {options.output}")
    return 0


if __name__ == "__main__":
    run_script(main)
