"""The eleven members of the ensemble: one row each (contract, section 3)."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from common.errors import BadInputError
from image_based.models import build_model
from training.checkpoint import load_weights, read_weights

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
KINETICS = (
    tuple(value / 255 for value in (110.63666788, 103.16065604, 96.29023126)),
    tuple(value / 255 for value in (38.7568578, 37.88248729, 40.02898126)),
)


@dataclass(frozen=True)
class Member:
    """A checkpoint `file` of network `arch`, trained by `trained_by`, its input in pixels, colours, mean and std, its weight.

    `flip`: the logits of the image and its mirror are averaged; `squeeze`: sure scores are pulled toward .5.
    """

    branch: str
    file: str
    trained_by: str
    arch: str
    size: int
    color: str
    normalisation: tuple[tuple[float, ...], tuple[float, ...]]
    weight: float
    flip: bool = False
    squeeze: bool = False


V, B = "video_based/configs", "image_based/configs"
MEMBERS = {
    "sf1": Member("video", "sf_bc_jc_44000.pth.tar", f"{V}/config.yaml", "slowfast50", 256, "rgb", KINETICS, 10),
    "sf2": Member("video", "sf_32000.pth.tar", f"{V}/config_noaug.yaml", "slowfast50", 256, "rgb", KINETICS, 8),
    "sf3": Member("video", "sf_16x8_bc_jc_44000.pth.tar", f"{V}/config_16x8.yaml", "slowfast50", 256, "rgb", KINETICS, 4),
    "sf4": Member("video", "sf_trainval_52000.pth.tar", f"{V}/config_alldata.yaml", "slowfast50", 256, "rgb", KINETICS, 8),
    "xcp": Member("image", "xcep_bgr_58000.pth.tar", f"{B}/xcep/config.yaml", "xception", 299, "bgr", HALF, 10, flip=True),
    "b3": Member("image", "b3_rgb_50000.pth.tar", f"{B}/b3/config.yaml", "efficientnet-b3", 299, "rgb", IMAGENET, 6, squeeze=True),
    "res34": Member(
        "image", "res34_rgb_23000.pth.tar", f"{B}/r34/config.yaml", "resnet34", 256, "rgb", IMAGENET, 4, flip=True, squeeze=True
    ),
    "b1": Member("image", "b1_rgb_58000.pth.tar", f"{B}/b1/config.yaml", "efficientnet-b1", 299, "rgb", IMAGENET, 10, flip=True),
    "b1long": Member(
        "image", "b1_rgb_long_alldata_66000.pth.tar", f"{B}/b1/config_long_alldata.yaml", "efficientnet-b1", 299, "rgb", IMAGENET, 8
    ),
    "b1short": Member(
        "image", "b1_rgb_alldata_58000.pth.tar", f"{B}/b1/config_alldata.yaml", "efficientnet-b1", 299, "rgb", IMAGENET, 8
    ),
    "b0": Member("image", "b0_rgb_58000.pth.tar", f"{B}/b0/config.yaml", "efficientnet-b0", 299, "rgb", IMAGENET, 7, flip=True),
}


def choose_members(names: str | None, models: Path) -> dict[str, Member]:
    """The members of a comma-separated list (None: all eleven), in the table's order.

    Raises BadInputError for an unknown name, listing the known, and for absent checkpoints, naming each file and its source.
    """
    wanted = list(MEMBERS) if names is None else [name.strip() for name in names.split(",")]
    unknown = [name for name in wanted if name not in MEMBERS]
    if unknown:
        raise BadInputError(f"unknown members {', '.join(unknown)}; known are {', '.join(MEMBERS)}")
    chosen = {name: member for name, member in MEMBERS.items() if name in wanted}
    absent = [
        f"  {name}: {models / member.file} (trained by {member.trained_by}, or the reference's published file of that name)"
        for name, member in chosen.items()
        if not (models / member.file).is_file()
    ]
    if absent:
        raise BadInputError("\n".join([f"{len(absent)} of {len(chosen)} members have no checkpoint:", *absent]))
    return chosen


def load_member(member: Member, models: Path, device: str) -> nn.Module:
    """The member's network with its checkpoint, strictly loaded, in evaluation mode. Raises BadInputError naming the file."""
    path = models / member.file
    try:
        network = build_model(member.arch)
    except ValueError as error:
        raise BadInputError(f"{path}: {error}") from error
    load_weights(network, read_weights(path), str(path))
    return network.eval().to(torch.device(device))
