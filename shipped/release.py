"""Make small, calibrated checkpoints of the shipped members from their trainings: no optimizer, half precision.

For each member, fit the Platt scaling (quality.platt) that suits its scores of the lists' crops best. In this fit every
class of every list counts alike, and lists of only real crops count nothing. A mean of scaled scores is not confident
enough, so fit one more temperature, for their mean: the one with the least balanced log loss. Nothing is shifted beyond
that, so the score is a probability where every class of every list is as frequent. Fold these values into the last
layers, so that the ensemble needs no scaling afterwards. The lists must not hold crops by which the members are judged.

    python -m shipped.release pretrain/lite0_released.pth.tar pretrain/lite2_released.pth.tar
"""

import argparse
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.command import command_parser, run_script
from common.errors import BadInputError
from common.files import atomic_file
from image_based.models import LAST_LAYERS
from inference.members import MODELS, SHIPPED
from inference.networks.runtimes import load_networks
from quality.platt import Platt, balanced_weights, fit_mean_temperature, fit_platt
from shipped.crops import CHOOSE_BY, score_crops
from training.checkpoint import bare_name, read_checkpoint
from training.face_tracks import FaceTracks

Content = dict[str, Any]  # of a checkpoint


def write_half(path: Path, content: Content) -> None:
    """Write a checkpoint's weights in half precision, with its step and arch. Raises BadInputError if one overflows."""
    state = {
        bare_name(name): value.half() if value.is_floating_point() else value
        for name, value in content["state_dict"].items()
    }
    if not all(value.isfinite().all() for value in state.values()):
        raise BadInputError("a weight does not fit half precision")
    with atomic_file(path) as temporary:
        torch.save({"step": content["step"], "arch": content["arch"], "state_dict": state}, temporary)


def fold(content: Content, platt: Platt, last_layer: str) -> Content:
    """The checkpoint, changed so that its network gives scaled logits: (difference - shift) / temperature."""
    state = {bare_name(name): value.float() for name, value in content["state_dict"].items()}
    state[f"{last_layer}.weight"] = state[f"{last_layer}.weight"] / platt.temperature
    shift = torch.tensor([platt.shift / 2, -platt.shift / 2])
    state[f"{last_layer}.bias"] = (state[f"{last_layer}.bias"] + shift) / platt.temperature
    return content | {"state_dict": state}


def calibrate(contents: Mapping[str, Content], faces: Path, lists: Sequence[Path]) -> dict[str, Platt]:
    """The Platt scaling of each member, by name: first for its own scores of the lists' crops, then for their mean.

    The members score with the weights in `contents`, in half precision. Raises BadInputError if a class is missing,
    higher scores do not go with FAKE, or a crop cannot be read.
    """
    tracks = FaceTracks(faces, *lists)
    scores = half_precision_scores(contents, tracks)
    crops = [track.count for track in tracks]
    labels = np.repeat([track.label for track in tracks], crops)
    sets = np.repeat(np.repeat(np.arange(len(lists)), tracks.sizes), crops)
    weights = balanced_weights(sets, labels)
    try:
        alone = {name: fit_platt(labels, values, weights) for name, values in scores.items()}
    except ValueError as error:
        raise BadInputError(str(error)) from error
    temperature = fit_mean_temperature(labels, scaled(scores, alone), weights)
    return {name: platt._replace(temperature=platt.temperature * temperature) for name, platt in alone.items()}


def half_precision_scores(contents: Mapping[str, Content], tracks: FaceTracks) -> dict[str, np.ndarray]:
    """Each member's probability of FAKE, float [N], of the N crops of lists, with its weights in half precision."""
    members = {name: SHIPPED[name] for name in contents}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in contents.items():
            write_half(Path(folder) / members[name].file, content)
        return score_crops(load_networks(members, Path(folder), "cpu", "fp32"), tracks)


def scaled(scores: Mapping[str, np.ndarray], platts: Mapping[str, Platt]) -> list[np.ndarray]:
    """Each member's scores, float [N], after its Platt scaling."""
    return [platt.apply(scores[name]) for name, platt in platts.items()]


def read_trained(paths: Iterable[Path]) -> dict[str, Content]:
    """The checkpoints by the shipped member with their network. Raises BadInputError unless each member has one."""
    names = {member.arch: name for name, member in SHIPPED.items()}
    contents: dict[str, Content] = {}
    for path in paths:
        content = read_checkpoint(path)
        if content["arch"] not in names:
            raise BadInputError(f"{path} holds {content['arch']}; the shipped members are {', '.join(names)}")
        if names[content["arch"]] in contents:
            raise BadInputError(f"{path} is the second checkpoint of {content['arch']}")
        contents[names[content["arch"]]] = content
    if absent := [arch for arch, name in names.items() if name not in contents]:
        raise BadInputError(f"no checkpoint of {', '.join(absent)} is given: the members are calibrated together")
    return contents


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = command_parser(__doc__)
    parser.add_argument(
        "checkpoints", type=Path, nargs="+", metavar="CHECKPOINT", help="one for each shipped member's network"
    )
    lists = [Path(f"DFDC-Kaggle_list/{name}.txt") for name in CHOOSE_BY]
    parser.add_argument(
        "--calibrate-on",
        type=Path,
        nargs="+",
        default=lists,
        metavar="LIST",
        help=f"lists of crops (default: {' '.join(map(str, lists))})",
    )
    parser.add_argument("--faces", type=Path, default=Path("DFDC-Kaggle_Alignedface"), metavar="DIR")
    parser.add_argument(
        "--models", type=Path, default=MODELS, metavar="DIR", help=f"where to write them (default: {MODELS})"
    )
    return parser.parse_args()


def main() -> int:
    """Calibrate, fold, write."""
    options = parse_arguments()
    contents = read_trained(options.checkpoints)
    platts = calibrate(contents, options.faces, options.calibrate_on)
    for name, platt in platts.items():
        member, content = SHIPPED[name], contents[name]
        output = options.models / member.file
        write_half(output, fold(content, platt, LAST_LAYERS[member.arch]))
        fit = f"temperature {platt.temperature:.4f}, shift {platt.shift:.4f}"
        print(f"release: {name}: {fit}; step {content['step']}, {output.stat().st_size / 1e6:.1f} MB; {output}")
    return 0


if __name__ == "__main__":
    run_script(main)
