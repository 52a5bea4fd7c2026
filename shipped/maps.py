"""How often a score has a place in the face: test the maps of the validation crops (inference.evidence.maps).

Reads  the lists of make_crop_lists.py with their truth, the faces, the members' checkpoints
Writes <output>   a row for each set and class, as CSV

A map holds if the log odds fall when its highest fifth is covered, and fall by more than when the same area elsewhere
is covered. Columns: crops tested; fraction of maps that hold; crops that score above 0.5; fraction of their maps that
hold; median fall for the marked place and for the other place with the largest fall. If the four places were alike, a
map would hold in a quarter of the crops.

    python -m shipped.maps --sets faces224_test,ffpp_val --max-crops 200
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.command import command_parser, positive, run_script
from common.errors import BadInputError
from common.files import write_table
from common.spread import spread
from inference.evidence.maps import Tested, try_maps
from inference.networks.runtimes import Networks
from shipped.crops import add_set_options, chosen_sets, crop_indices, load_chosen, member_inputs, read_batches
from training.face_tracks import FaceTracks

BATCH = 16  # crops in memory at a time
COLUMNS = ("set", "class", "crops", "hold", "above_half", "hold_above_half", "fall", "elsewhere")
LABELS = {0: "REAL", 1: "FAKE"}


def try_list(networks: Networks, tracks: FaceTracks, most: int) -> dict[int, list[Tested]]:
    """The tested maps of at most `most` crops of each class of a list, evenly spread over it, by label.

    Raises as `try_crops`, and BadInputError for a crop that cannot be read.
    """
    tested: dict[int, list[Tested]] = {}
    for label in sorted(tracks.labels):
        indices = [index for index in crop_indices(tracks) if tracks[index[0]].label == label]
        chosen = [indices[position] for position in spread(len(indices), most)]
        batches = read_batches(tracks, chosen, BATCH, LABELS[label])
        tested[label] = [crop_map for _, crops in batches for crop_map in try_crops(networks, crops)]
    return tested


def try_crops(networks: Networks, crops: Sequence[np.ndarray]) -> list[Tested]:
    """The tested maps of crops, BGR uint8 [h, w, 3]. Raises BadInputError if a member gives no maps."""
    inputs = member_inputs(networks, crops)
    tested = try_maps(networks, inputs, dict.fromkeys(inputs, 1.0))
    if not tested:
        raise BadInputError(
            "a member gives no maps: write its ONNX file again with `python -m inference.networks.export`"
        )
    return tested


def table_row(name: str, label: int, maps: Sequence[Tested]) -> tuple[str, ...]:
    """A set's row for a class, as COLUMNS says."""
    holds = np.array([tested.proven for tested in maps])
    above = np.array([tested.odds > 0 for tested in maps])
    falls = np.array([(tested.fall, max(tested.elsewhere)) for tested in maps])
    medians = [f"{value:.2f}" for value in np.median(falls, axis=0)]
    shares = f"{holds.mean():.2f}", str(int(above.sum())), f"{holds[above].mean():.2f}" if above.any() else ""
    return name, LABELS[label], str(len(maps)), *shares, *medians


def main() -> int:
    """Test, print, write."""
    parser = command_parser(__doc__)
    add_set_options(parser)
    parser.add_argument("--max-crops", type=positive, default=100, metavar="N", help="per class (default: 100)")
    parser.add_argument("--output", type=Path, default=Path("evaluation/where.csv"), metavar="CSV")
    options = parser.parse_args()
    names, networks = chosen_sets(options), load_chosen(options)
    rows, tested = [], list[Tested]()
    for name in names:
        tracks = FaceTracks(options.faces, options.lists / f"{name}.txt")
        for label, maps in try_list(networks, tracks, options.max_crops).items():
            rows.append(table_row(name, label, maps))
            tested += maps
            print(" | ".join(("", *rows[-1], "")).strip(), flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_table(options.output, [COLUMNS, *rows])
    print(f"maps: {sum(crop_map.proven for crop_map in tested)} of {len(tested)} hold; {options.output}")
    return 0


if __name__ == "__main__":
    run_script(main)
