"""Make a small, calibrated checkpoint of a member from a training's: no optimizer, half precision.

The temperature and the shift that fit the crops of a list best (inference.quality) are folded into the last layer, so that the
member's scores are calibrated as they come. The list must hold none of the crops that the member is judged by.

    python -m inference.ship image_based/experiments/lite0_mixed192/<datetime>/ckpt_best.pth.tar
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from common.atomic import atomic_file
from common.errors import BadInputError
from common.stage import run_script
from image_based.models import LAST_LAYERS
from inference.crops import score_crops
from inference.members import MODELS, SHIPPED, Member
from inference.networks import load_networks
from inference.quality import Calibration, fit_calibration
from training.checkpoint import bare_name, read_checkpoint
from training.face_tracks import FaceTracks

Content = dict[str, object]


def write_half(path: Path, content: Content) -> None:
    """Write a checkpoint's weights in half precision, with its step and arch."""
    state = {bare_name(name): value.half() if value.is_floating_point() else value for name, value in content["state_dict"].items()}
    if not all(value.isfinite().all() for value in state.values()):
        raise BadInputError("a weight does not fit half precision")
    with atomic_file(path) as temporary:
        torch.save({"step": content["step"], "arch": content["arch"], "state_dict": state}, temporary)


def folded(content: Content, calibration: Calibration, last_layer: str) -> Content:
    """The checkpoint whose network gives calibrated logits: (difference - shift) / temperature."""
    state = {bare_name(name): value.float() for name, value in content["state_dict"].items()}
    state[f"{last_layer}.weight"] = state[f"{last_layer}.weight"] / calibration.temperature
    shift = torch.tensor([calibration.shift / 2, -calibration.shift / 2])
    state[f"{last_layer}.bias"] = (state[f"{last_layer}.bias"] + shift) / calibration.temperature
    return content | {"state_dict": state}


def calibrate(content: Content, member: Member, name: str, tracks: FaceTracks) -> Calibration:
    """What fits the member's scores of these crops, with these weights, best. Raises BadInputError where nothing does."""
    with tempfile.TemporaryDirectory() as folder:
        write_half(Path(folder) / member.file, content)
        scores = score_crops(load_networks({name: member}, Path(folder), "cpu", "fp32"), name, tracks)
    labels = {track.frame(at): track.label for track in tracks for at in range(track.count)}
    try:
        return fit_calibration(np.array(list(labels.values())), np.array([scores[crop] for crop in labels]))
    except ValueError as error:
        raise BadInputError(str(error)) from error


def main() -> int:
    """Calibrate, fold, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--list", type=Path, default=Path("DFDC-Kaggle_list/faces224_calibration.txt"), metavar="LIST")
    parser.add_argument("--faces", type=Path, default=Path("DFDC-Kaggle_Alignedface"), metavar="DIR")
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help=f"where to write it (default: {MODELS})")
    options = parser.parse_args()
    ((name, member),) = SHIPPED.items()
    content = read_checkpoint(options.checkpoint)
    if content["arch"] != member.arch:
        raise BadInputError(f"{options.checkpoint} is of {content['arch']}, {name} is {member.arch}")
    calibration = calibrate(content, member, name, FaceTracks(options.faces, options.list))
    output = options.models / member.file
    write_half(output, folded(content, calibration, LAST_LAYERS[member.arch]))
    print(f"ship: temperature {calibration.temperature:.4f}, shift {calibration.shift:.4f} from {options.list}; ", end="")
    print(f"step {content['step']}, {output.stat().st_size / 1e6:.1f} MB; {output}")
    return 0


if __name__ == "__main__":
    run_script(main)
