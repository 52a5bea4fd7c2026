"""Score ready-made face crops, each alone, with one image member: how its model card's numbers are made.

Reads  a list of crops in the contract's format, the faces, the member's checkpoint
Writes a CSV `filename,label` for inference.evaluate; label = probability of FAKE

    python -m inference.crops DFDC-Kaggle_list/faces224_test.txt --output scores.csv
    python -m inference.evaluate scores.csv DFDC-Kaggle_list/faces224_test.csv
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.atomic import write_table
from common.device import CHOICES, keep_freed_memory, pick_device
from common.errors import BadInputError
from common.images import resize
from common.stage import progress, run_script
from inference.members import KNOWN, MODELS, SHIPPED
from inference.networks import Networks, load_networks
from inference.scoring import fake_probability
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


def main() -> int:
    """Score the crops of a list."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path, metavar="LIST")
    parser.add_argument("--faces", type=Path, default=Path("DFDC-Kaggle_Alignedface"), metavar="DIR")
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help=f"default: {MODELS}")
    images = [name for name, member in KNOWN.items() if member.branch == "image"]
    parser.add_argument("--member", choices=images, default=next(iter(SHIPPED)), help=f"default: {next(iter(SHIPPED))}")
    parser.add_argument("--output", type=Path, default=Path("scores.csv"), metavar="CSV", help="default: scores.csv")
    parser.add_argument("--device", choices=CHOICES, default="auto")
    options = parser.parse_args()
    if not (options.models / KNOWN[options.member].file).is_file():
        raise BadInputError(f"{options.models / KNOWN[options.member].file} is missing")
    keep_freed_memory()
    member = {options.member: KNOWN[options.member]}
    networks = load_networks(member, options.models, pick_device(options.device), "fp32")
    scores = score_crops(networks, options.member, FaceTracks(options.faces, options.list))
    write_table(options.output, [("filename", "label"), *((name, f"{score:.8f}") for name, score in scores.items())])
    print(f"crops: {len(scores)} scored by {options.member}; {options.output}")
    return 0


if __name__ == "__main__":
    run_script(main)
