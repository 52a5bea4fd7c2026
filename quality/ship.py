"""Make small, calibrated checkpoints of the shipped members from their trainings: no optimizer, half precision.

For each member, fit the temperature and the shift that suit its scores of a list's crops best (quality.measures). A
mean of calibrated scores is not sure enough, so fit one more temperature, for their mean. Fold these values into the
last layers, so that the ensemble needs no calibration afterwards. The list must hold none of the crops that the members
are judged by.

    python -m quality.ship image_based/experiments/lite0_mixed192/<datetime>/ckpt_best.pth.tar \\
        image_based/experiments/lite2_pairs192/<datetime>/ckpt_iter_1299.pth.tar
"""

import argparse
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.atomic import atomic_file
from common.errors import BadInputError
from common.stage import run_script
from image_based.models import LAST_LAYERS
from inference.members import MODELS, SHIPPED
from inference.networks import load_networks
from quality.crops import score_crops
from quality.measures import Calibration, fit_calibration, fit_mean
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


def folded(content: Content, calibration: Calibration, last_layer: str) -> Content:
    """The checkpoint, changed so that its network gives calibrated logits: (difference - shift) / temperature."""
    state = {bare_name(name): value.float() for name, value in content["state_dict"].items()}
    state[f"{last_layer}.weight"] = state[f"{last_layer}.weight"] / calibration.temperature
    shift = torch.tensor([calibration.shift / 2, -calibration.shift / 2])
    state[f"{last_layer}.bias"] = (state[f"{last_layer}.bias"] + shift) / calibration.temperature
    return content | {"state_dict": state}


def calibrate(contents: Mapping[str, Content], tracks: FaceTracks) -> dict[str, Calibration]:
    """The calibrations, by member, that fit the scores of these crops best: each member's alone, then their mean.

    The members score with the weights in `contents`, in half precision. Raises BadInputError if there is no calibration
    (see `quality.measures.fit_calibration`).
    """
    members = {name: SHIPPED[name] for name in contents}
    with tempfile.TemporaryDirectory() as folder:
        for name, content in contents.items():
            write_half(Path(folder) / members[name].file, content)
        networks = load_networks(members, Path(folder), "cpu", "fp32")
        scores = score_crops(networks, tracks)
    truth = {track.frame(at): track.label for track in tracks for at in range(track.count)}
    labels = np.array(list(truth.values()))
    values = {name: np.array([mine[crop] for crop in truth]) for name, mine in scores.items()}
    try:
        alone = {name: fit_calibration(labels, mine) for name, mine in values.items()}
    except ValueError as error:
        raise BadInputError(str(error)) from error
    common = fit_mean(labels, [fitted.apply(values[name]) for name, fitted in alone.items()])
    return {name: fitted._replace(temperature=fitted.temperature * common) for name, fitted in alone.items()}


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
    default = Path("DFDC-Kaggle_list/faces224_calibration.txt")
    parser.add_argument(
        "--calibrate-on",
        type=Path,
        default=default,
        metavar="LIST",
        help=f"a list of crops (default: {default})",
    )
    parser.add_argument("--faces", type=Path, default=Path("DFDC-Kaggle_Alignedface"), metavar="DIR")
    parser.add_argument(
        "--models", type=Path, default=MODELS, metavar="DIR", help=f"where to write them (default: {MODELS})"
    )
    options = parser.parse_args()
    contents = read_trained(options.checkpoints)
    for name, calibration in calibrate(contents, FaceTracks(options.faces, options.calibrate_on)).items():
        member, content = SHIPPED[name], contents[name]
        output = options.models / member.file
        write_half(output, folded(content, calibration, LAST_LAYERS[member.arch]))
        fit = f"temperature {calibration.temperature:.4f}, shift {calibration.shift:.4f}"
        print(f"ship: {name}: {fit}; step {content['step']}, {output.stat().st_size / 1e6:.1f} MB; {output}")
    return 0


if __name__ == "__main__":
    run_script(main)
