"""The eleven members of the ensemble: one row each (contract, section 3).

python -m inference.members                which checkpoints are present, their step and sha256
python -m inference.members --check        loads each strictly and scores a recorded input with it
python -m inference.members --markdown     the table of inference/README.md
"""

import argparse
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import image_based.models
import video_based.models
from common.errors import BadInputError
from common.stage import run_script
from common.weights import load_dict
from inference.fold import fastest
from inference.scoring import BRANCH_SHARES
from training.checkpoint import load_weights, read_weights
from training.inputs import to_input

MODELS = Path("inference/submit_models")
BRANCHES = {"image": image_based.models.build_model, "video": video_based.models.build_model}

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


def load_member(member: Member, models: Path, device: str = "cpu") -> nn.Module:
    """The member's network with its checkpoint, strictly loaded, in its fastest exact form. Raises BadInputError."""
    path = models / member.file
    network = BRANCHES[member.branch](member.arch)
    load_weights(network, read_weights(path), str(path))
    return fastest(network, small_input(member.branch)).to(torch.device(device))


def small_input(branch: str) -> Tensor:
    """The smallest input worth running a branch's networks on: a clip [1, 3, 4, 64, 64] or an image [1, 3, 96, 96]."""
    return torch.zeros(1, 3, 4, 64, 64) if branch == "video" else torch.zeros(1, 3, 96, 96)


def share(member: Member) -> float:
    """The member's weight in the final score when all eleven have one and none is left out by a policy."""
    total = sum(other.weight for other in MEMBERS.values() if other.branch == member.branch)
    return BRANCH_SHARES[member.branch] * member.weight / total


def check_input(member: Member) -> Tensor:
    """A recorded input: crops of numpy's noise of seed 0 as the member sees them; 8 frames for a video member."""
    frames = 8 if member.branch == "video" else 1
    noise = np.random.RandomState(0).randint(0, 256, (frames, 3, member.size, member.size), dtype=np.uint8)
    images = to_input(torch.from_numpy(noise).movedim(1, -1), member.color, *member.normalisation)
    return images.transpose(0, 1)[None] if member.branch == "video" else images


def check_member(member: Member, models: Path) -> str:
    """Load the member and score the recorded input: the probability, or what is wrong."""
    try:
        with torch.inference_mode():
            probability = load_member(member, models)(check_input(member)).softmax(dim=1)[0, 1].item()
    except BadInputError as error:
        return f"FAILED {error}"
    return f"{probability:.6f}" if math.isfinite(probability) else f"FAILED scores {probability}"


def markdown_table() -> str:
    """The members as rows of a Markdown table."""
    lines = ["| member | checkpoint | trained by | network | input | colours | flip | squeeze | final weight |", "|---" * 9 + "|"]
    for name, member in MEMBERS.items():
        marks = ["yes" if mark else "" for mark in (member.flip, member.squeeze)]
        cells = [name, member.file, member.trained_by, member.arch, f"{member.size} px", member.color.upper(), *marks]
        lines.append(f"| {' | '.join([*cells, f'{share(member):.4f}'])} |")
    return "\n".join(lines) + "\n"


def describe(name: str, models: Path, check: bool) -> str:
    """A member's line: what it is, whether its checkpoint is there, and what that holds."""
    member = MEMBERS[name]
    path = models / member.file
    line = f"{name:<8} {member.file:<33} {member.arch:<16} {member.size} px  {share(member):.4f}  "
    if not path.is_file():
        return f"{line}absent"
    try:
        step = load_dict(path).get("step", "none")
    except BadInputError as error:
        return f"{line}FAILED {error}"
    line += f"step {step}  sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return f"{line}  check {check_member(member, models)}" if check else line


def main() -> int:
    """Print the table; with --check, 1 unless every checkpoint that is present loads and scores, and one is present."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help=f"default: {MODELS}")
    parser.add_argument("--check", action="store_true", help="load each checkpoint strictly and score a recorded input")
    parser.add_argument("--markdown", action="store_true", help="print the table of inference/README.md and end")
    options = parser.parse_args()
    if options.markdown:
        print(markdown_table(), end="")
        return 0
    print(f"{'member':<8} {'checkpoint':<33} {'network':<16} {'input':<7} {'weight':<7} in {options.models}")
    lines = [describe(name, options.models, options.check) for name in MEMBERS]
    print("\n".join(lines))
    absent, failed = sum(line.endswith("absent") for line in lines), sum("FAILED" in line for line in lines)
    print(f"inference.members: {len(lines) - absent - failed} present, {absent} absent, {failed} failed")
    return 1 if failed or (options.check and absent == len(lines)) else 0


if __name__ == "__main__":
    run_script(main)
