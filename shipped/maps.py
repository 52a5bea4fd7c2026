"""How often a score has a place in the face: test the maps of the validation crops (inference.evidence.maps).

Reads  the lists of make_crop_lists.py with their truth, the faces, the members' checkpoints
Writes <output>   a row for each set and class, as CSV

A map holds if the log odds fall when its highest fifth is covered, and by more than when as much elsewhere is covered.
Columns: crops tested; maps that hold; maps that hold of crops that score above .5; median fall of the marked place and
of the worst other one. Were the four places alike, a map would hold in a quarter of the crops.

    python -m shipped.maps --sets faces224_test,ffpp_val --max-crops 200
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.command import pick_device, positive, run_script
from common.errors import BadInputError
from common.files import write_table
from common.spread import spread
from common.workers import progress
from faces.video import in_batches
from inference.evidence.maps import Tested, try_maps
from inference.networks.runtimes import Networks
from shipped.crops import as_seen, image_members, load_fastest, places_of
from shipped.sets import add_set_options, present
from training.face_tracks import FaceTracks

TOGETHER = 16  # crops in memory at a time
COLUMNS = ("set", "class", "crops", "hold", "above_half", "hold_above_half", "fall", "elsewhere")


def try_list(networks: Networks, tracks: FaceTracks, most: int) -> dict[int, list[Tested]]:
    """The tested maps of up to so many crops of each class of a list, spread over it, by label."""
    found: dict[int, list[Tested]] = {}
    for label in sorted(tracks.labels):
        places = [place for place in places_of(tracks) if tracks[place[0]].label == label]
        chosen = [places[at] for at in spread(len(places), most)]
        found[label] = []
        with progress(total=len(chosen), desc="real" if label == 0 else "fake", unit="crop") as bar:
            for some in in_batches(chosen, TOGETHER):
                found[label] += try_crops(networks, [tracks.read(*place) for place in some])
                bar.update(len(some))
    return found


def try_crops(networks: Networks, crops: Sequence[np.ndarray]) -> list[Tested]:
    """The tested maps of crops, BGR uint8 [h, w, 3]. Raises BadInputError for a member without maps."""
    seen = as_seen(networks, crops)
    tested = try_maps(networks, seen, dict.fromkeys(seen, 1.0))
    if not tested:
        raise BadInputError(
            "a member gives no map: write its ONNX file anew with `python -m inference.networks.export`"
        )
    return tested


def row_of(name: str, label: int, maps: Sequence[Tested]) -> tuple[str, ...]:
    """A set's row for a class, as COLUMNS says."""
    holds = np.array([one.proven for one in maps])
    sure = np.array([one.odds > 0 for one in maps])
    falls = np.array([(one.fall, max(one.elsewhere)) for one in maps])
    medians = [f"{value:.2f}" for value in np.median(falls, axis=0)]
    shares = f"{holds.mean():.2f}", str(int(sure.sum())), f"{holds[sure].mean():.2f}" if sure.any() else ""
    return name, "FAKE" if label else "REAL", str(len(maps)), *shares, *medians


def main() -> int:
    """Test, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_set_options(parser)
    parser.add_argument("--max-crops", type=positive, default=100, metavar="N", help="crops of a class (default: 100)")
    parser.add_argument("--output", type=Path, default=Path("evaluation/where.csv"), metavar="CSV")
    options = parser.parse_args()
    names = present(options.lists, options.sets)
    members = image_members(options.members, options.models)
    networks = load_fastest(members, options.models, pick_device(options.device))
    rows, tested, hold = [], 0, 0
    for name in names:
        tracks = FaceTracks(options.faces, options.lists / f"{name}.txt")
        for label, maps in try_list(networks, tracks, options.max_crops).items():
            rows.append(row_of(name, label, maps))
            tested, hold = tested + len(maps), hold + sum(one.proven for one in maps)
            print(" | ".join(("", *rows[-1], "")).strip(), flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_table(options.output, [COLUMNS, *rows])
    print(f"where: of {tested} maps {hold} hold; {options.output}")
    return 0


if __name__ == "__main__":
    run_script(main)
