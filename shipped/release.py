"""Make small, calibrated checkpoints of the shipped members from their trainings: no optimizer, half precision.

For each member, fit the temperature and the shift that suit its scores of the lists' crops best (quality.measures). In
this fit every class of every list counts alike. A mean of calibrated scores is not sure enough, so fit one more
temperature, for their mean. Then shift all members until no list has more than --most-false of its real crops above .5;
lists of real crops alone count here only. Fold these values into the last layers, so that the ensemble needs no
calibration afterwards. The lists must hold none of the crops that the members are judged by.

    python -m shipped.release image_based/experiments/lite0_sets160/<datetime>/ckpt_iter_3199.pth.tar \\
        image_based/experiments/lite2_sets160/<datetime>/ckpt_iter_1999.pth.tar
"""

import argparse
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.command import run_script
from common.errors import BadInputError
from common.files import atomic_file
from image_based.models import LAST_LAYERS
from inference.members import MODELS, SHIPPED
from inference.networks.runtimes import load_networks
from quality.measures import Platt, balanced_weights, fit_calibration, fit_mean, least_shift
from shipped.crops import score_crops
from shipped.sets import CHOOSE_BY
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


def folded(content: Content, calibration: Platt, last_layer: str) -> Content:
    """The checkpoint, changed so that its network gives calibrated logits: (difference - shift) / temperature."""
    state = {bare_name(name): value.float() for name, value in content["state_dict"].items()}
    state[f"{last_layer}.weight"] = state[f"{last_layer}.weight"] / calibration.temperature
    shift = torch.tensor([calibration.shift / 2, -calibration.shift / 2])
    state[f"{last_layer}.bias"] = (state[f"{last_layer}.bias"] + shift) / calibration.temperature
    return content | {"state_dict": state}


def calibrate(contents: Mapping[str, Content], faces: Path, lists: Sequence[Path], most: float) -> dict[str, Platt]:
    """The calibrations, by member, that fit the scores of the lists' crops best: each member's alone, then their mean.

    The members score with the weights in `contents`, in half precision. At most a fraction `most` of each list's reals
    is then above .5. Raises BadInputError if there is no calibration (see `quality.measures.fit_calibration`).
    """
    members = {name: SHIPPED[name] for name in contents}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in contents.items():
            write_half(Path(folder) / members[name].file, content)
        networks = load_networks(members, Path(folder), "cpu", "fp32")
        tracks = FaceTracks(faces, *lists)
        scores = score_crops(networks, tracks)
    list_of = np.repeat(np.arange(len(lists)), tracks.sizes)
    truth = [
        (track.frame(at), track.label, number)
        for track, number in zip(tracks, list_of, strict=True)
        for at in range(track.count)
    ]
    labels, sets = (np.array([row[column] for row in truth]) for column in (1, 2))
    values = {name: np.array([mine[path] for path, *_ in truth]) for name, mine in scores.items()}
    weights = balanced_weights(sets, labels)
    try:
        alone = {name: fit_calibration(labels, mine, weights) for name, mine in values.items()}
    except ValueError as error:
        raise BadInputError(str(error)) from error
    common = fit_mean(labels, [fitted.apply(values[name]) for name, fitted in alone.items()], weights)
    sure = {name: fitted._replace(temperature=fitted.temperature * common) for name, fitted in alone.items()}
    extra = least_shift(sets, labels, [fitted.apply(values[name]) for name, fitted in sure.items()], most)
    return {name: fitted._replace(shift=fitted.shift + extra * fitted.temperature) for name, fitted in sure.items()}


def read_trained(paths: Iterable[Path]) -> dict[str, Content]:
    """The checkpoints by the shipped member with their network. Raises BadInputError unless each member has one."""
    names = {member.arch: name for name, member in SHIPPED.items()}
    found = {}
    for path in paths:
        content = read_checkpoint(path)
        if content["arch"] not in names:
            raise BadInputError(f"{path} is of {content['arch']}, the shipped members are of {', '.join(names)}")
        if names[content["arch"]] in found:
            raise BadInputError(f"{path} is the second of {content['arch']}")
        found[names[content["arch"]]] = content
    absent = [arch for arch, name in names.items() if name not in found]
    if absent:
        raise BadInputError(f"no checkpoint of {', '.join(absent)} is given: the members are calibrated together")
    return found


def main() -> int:
    """Calibrate, fold, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "checkpoints", type=Path, nargs="+", metavar="CHECKPOINT", help="one of each shipped member's network"
    )
    default = [Path(f"DFDC-Kaggle_list/{name}.txt") for name in CHOOSE_BY]
    parser.add_argument(
        "--calibrate-on",
        type=Path,
        nargs="+",
        default=default,
        metavar="LIST",
        help=f"lists of crops (default: {' '.join(map(str, default))})",
    )
    parser.add_argument(
        "--most-false", type=float, default=0.1, metavar="P", help="fraction of a list's reals above .5 (default: .1)"
    )
    parser.add_argument("--faces", type=Path, default=Path("DFDC-Kaggle_Alignedface"), metavar="DIR")
    parser.add_argument(
        "--models", type=Path, default=MODELS, metavar="DIR", help=f"where to write them (default: {MODELS})"
    )
    options = parser.parse_args()
    contents = read_trained(options.checkpoints)
    calibrations = calibrate(contents, options.faces, options.calibrate_on, options.most_false)
    for name, calibration in calibrations.items():
        member, content = SHIPPED[name], contents[name]
        output = options.models / member.file
        write_half(output, folded(content, calibration, LAST_LAYERS[member.arch]))
        fit = f"temperature {calibration.temperature:.4f}, shift {calibration.shift:.4f}"
        print(f"ship: {name}: {fit}; step {content['step']}, {output.stat().st_size / 1e6:.1f} MB; {output}")
    return 0


if __name__ == "__main__":
    run_script(main)
