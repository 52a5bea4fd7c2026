"""The eleven members of the ensemble: one row each (contract, section 3); and the two whose weights come with the
repository.

python -m inference.members                which checkpoints are present, their step and sha256 python -m
inference.members --check        loads each strictly and scores a built-in input with it; where the score of a
checkpoint
                                           of that sha256 is recorded it must come again: outputs that an upgrade
                                           changes are caught
python -m inference.members --record       as --check, and records the scores
python -m inference.members --markdown     the table of inference/README.md
"""

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import image_based.models
import video_based.models
from common.atomic import write_text
from common.errors import BadInputError
from common.stage import run_script
from common.weights import load_dict, sha256
from inference.fold import fastest
from inference.sampled import Kind
from inference.scoring import BRANCH_SHARES
from training.checkpoint import load_weights, read_weights
from training.inputs import to_input

MODELS = Path("inference/submit_models")
RECORDED = Path("inference/recorded.json")  # sha256 of a checkpoint: its log odds of the built-in input
TOLERANCE = 1e-3  # of log odds, between machines; float32 sums differ in their order
BRANCHES = {"image": image_based.models.build_model, "video": video_based.models.build_model}

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
KINETICS = (
    tuple(value / 255 for value in (110.63666788, 103.16065604, 96.29023126)),
    tuple(value / 255 for value in (38.7568578, 37.88248729, 40.02898126)),
)


@dataclass(frozen=True)
class Member:
    """A checkpoint `file` of network `arch`, trained by `trained_by`, its input in pixels, colours, mean and std, its
    weight.

    `flip`: the logits of the image and its mirror are averaged; `squeeze`: sure scores are pulled toward .5; `share`:
    how much of the side of the contract's crops it sees.
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
    share: float = 1.0

    @property
    def kind(self) -> Kind:
        """The crops that it sees."""
        return Kind(self.branch, self.size, self.share)


V, B = "video_based/configs", "image_based/configs"
MEMBERS = {
    "sf1": Member("video", "sf_bc_jc_44000.pth.tar", f"{V}/config.yaml", "slowfast50", 256, "rgb", KINETICS, 10),
    "sf2": Member("video", "sf_32000.pth.tar", f"{V}/config_noaug.yaml", "slowfast50", 256, "rgb", KINETICS, 8),
    "sf3": Member(
        "video", "sf_16x8_bc_jc_44000.pth.tar", f"{V}/config_16x8.yaml", "slowfast50", 256, "rgb", KINETICS, 4
    ),
    "sf4": Member(
        "video", "sf_trainval_52000.pth.tar", f"{V}/config_alldata.yaml", "slowfast50", 256, "rgb", KINETICS, 8
    ),
    "xcp": Member(
        "image", "xcep_bgr_58000.pth.tar", f"{B}/xcep/config.yaml", "xception", 299, "bgr", HALF, 10, flip=True
    ),
    "b3": Member(
        "image", "b3_rgb_50000.pth.tar", f"{B}/b3/config.yaml", "efficientnet-b3", 299, "rgb", IMAGENET, 6, squeeze=True
    ),
    "res34": Member(
        "image",
        "res34_rgb_23000.pth.tar",
        f"{B}/r34/config.yaml",
        "resnet34",
        256,
        "rgb",
        IMAGENET,
        4,
        flip=True,
        squeeze=True,
    ),
    "b1": Member(
        "image", "b1_rgb_58000.pth.tar", f"{B}/b1/config.yaml", "efficientnet-b1", 299, "rgb", IMAGENET, 10, flip=True
    ),
    "b1long": Member(
        "image",
        "b1_rgb_long_alldata_66000.pth.tar",
        f"{B}/b1/config_long_alldata.yaml",
        "efficientnet-b1",
        299,
        "rgb",
        IMAGENET,
        8,
    ),
    "b1short": Member(
        "image",
        "b1_rgb_alldata_58000.pth.tar",
        f"{B}/b1/config_alldata.yaml",
        "efficientnet-b1",
        299,
        "rgb",
        IMAGENET,
        8,
    ),
    "b0": Member(
        "image", "b0_rgb_58000.pth.tar", f"{B}/b0/config.yaml", "efficientnet-b0", 299, "rgb", IMAGENET, 7, flip=True
    ),
}


# What comes with the repository, for those who have none of the eleven: inference/submit_models/README.md.
SHIPPED = {
    "faces224": Member(
        "image",
        "b0_faces224.pth.tar",
        f"{B}/lite0/config_mixed192.yaml",
        "efficientnet-lite0",
        224,
        "rgb",
        IMAGENET,
        1,
        flip=True,
        share=0.65,
    ),
    "faces192": Member(
        "image",
        "lite2_faces192.pth.tar",
        f"{B}/lite2/config_pairs192.yaml",
        "efficientnet-lite2",
        192,
        "rgb",
        IMAGENET,
        1,
        flip=True,
        share=0.65,
    ),
}
KNOWN = MEMBERS | SHIPPED


class Choice(NamedTuple):
    """The members to score with, and the names of those that are wanted but have no checkpoint."""

    members: dict[str, Member]
    absent: list[str]


def choose_members(names: str | None, models: Path, allow_missing: bool = False) -> Choice:
    """The members of a comma-separated list, in the table's order; None: all eleven, or, where none of them is there,
    the shipped.

    Raises BadInputError for an unknown name, listing the known, and for absent checkpoints, naming each file and its
    source, unless some may be missing and some are there.
    """
    wanted = default_members(models) if names is None else [name.strip() for name in names.split(",")]
    unknown = [name for name in wanted if name not in KNOWN]
    if unknown:
        raise BadInputError(f"unknown members {', '.join(unknown)}; known are {', '.join(KNOWN)}")
    chosen = {name: member for name, member in KNOWN.items() if name in wanted}
    absent = [name for name, member in chosen.items() if not (models / member.file).is_file()]
    if absent and (not allow_missing or len(absent) == len(chosen)):
        lines = [f"  {name}: {source(chosen[name], models)}" for name in absent]
        raise BadInputError("\n".join([f"{len(absent)} of {len(chosen)} members have no checkpoint:", *lines]))
    return Choice({name: member for name, member in chosen.items() if name not in absent}, absent)


def default_members(models: Path) -> list[str]:
    """The eleven; the shipped ones that are there where none of the eleven is."""
    present = [name for name, member in KNOWN.items() if (models / member.file).is_file()]
    return present if present and SHIPPED.keys() >= set(present) else list(MEMBERS)


def source(member: Member, models: Path) -> str:
    """Where a member's checkpoint should be, and where it comes from."""
    return f"{models / member.file} (trained by {member.trained_by}, or the reference's published file of that name)"


def load_member(member: Member, models: Path, device: str = "cpu") -> nn.Module:
    """The member's network with its checkpoint, strictly loaded, in its fastest exact form. Raises BadInputError."""
    path = models / member.file
    network = BRANCHES[member.branch](member.arch)
    load_weights(network, read_weights(path), str(path))
    return fastest(network, small_input(member.branch)).to(torch.device(device))


def small_input(branch: str) -> Tensor:
    """The smallest input worth running a branch's networks on: a clip [1, 3, 4, 64, 64] or an image [1, 3, 96, 96]."""
    return torch.zeros(1, 3, 4, 64, 64) if branch == "video" else torch.zeros(1, 3, 96, 96)


def shares(members: Mapping[str, Member]) -> dict[str, float]:
    """Each member's weight in the final score when all of these have one and no policy leaves one out."""
    weights = Counter()
    for member in members.values():
        weights[member.branch] += member.weight
    branches = BRANCH_SHARES if len(weights) > 1 else dict.fromkeys(weights, 1.0)
    return {name: branches[member.branch] * member.weight / weights[member.branch] for name, member in members.items()}


def crop_kinds(members: Iterable[Member]) -> set[Kind]:
    """The crops that members see."""
    return {member.kind for member in members}


def check_input(member: Member) -> Tensor:
    """A built-in input: crops of numpy's noise of seed 0 as the member sees them; 8 frames for a video member."""
    frames = 8 if member.branch == "video" else 1
    noise = np.random.RandomState(0).randint(0, 256, (frames, 3, member.size, member.size), dtype=np.uint8)
    images = to_input(torch.from_numpy(noise).movedim(1, -1), member.color, *member.normalisation)
    return images.transpose(0, 1)[None] if member.branch == "video" else images


def check_member(member: Member, models: Path) -> float:
    """Load the member and score the built-in input: the log odds of FAKE.

    Raises BadInputError for what does not fit, or a score that is not finite.
    """
    with torch.inference_mode():
        odds = load_member(member, models)(check_input(member)).diff(dim=1).item()
    if not math.isfinite(odds):
        raise BadInputError(f"scores {odds}")
    return odds


def read_recorded(path: Path = RECORDED) -> dict[str, float]:
    """The recorded log odds by the checkpoint's sha256."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def compare(odds: float, digest: str, recorded: dict[str, float]) -> str:
    """What to say of a checkpoint's score of the built-in input."""
    if digest not in recorded:
        return f"check {odds:.6f}, none recorded"
    if abs(odds - recorded[digest]) > TOLERANCE:
        return f"FAILED scores {odds:.6f}, recorded are {recorded[digest]:.6f}"
    return f"check {odds:.6f} as recorded"


def markdown_table() -> str:
    """The members as rows of a Markdown table."""
    lines = [
        "| member | checkpoint | trained by | network | input | colours | flip | squeeze | final weight |",
        "|---" * 9 + "|",
    ]
    final = shares(MEMBERS)
    for name, member in MEMBERS.items():
        marks = ["yes" if mark else "" for mark in (member.flip, member.squeeze)]
        cells = [name, member.file, member.trained_by, member.arch, f"{member.size} px", member.color.upper(), *marks]
        lines.append(f"| {' | '.join([*cells, f'{final[name]:.4f}'])} |")
    return "\n".join(lines) + "\n"


def describe(name: str, models: Path, check: bool, recorded: dict[str, float], record: bool) -> str:
    """A member's line: what it is, whether its checkpoint is there, and what that holds; `recorded` is added to."""
    member = KNOWN[name]
    path = models / member.file
    line = f"{name:<8} {member.file:<33} {member.arch:<16} {member.size} px  {(shares(MEMBERS) | shares(SHIPPED))[name]:.4f}  "
    if not path.is_file():
        return f"{line}absent"
    try:
        step = load_dict(path).get("step", "none")
        digest = sha256(path)
        line += f"step {step}  sha256 {digest}"
        if not check:
            return line
        odds = check_member(member, models)
    except BadInputError as error:
        return f"{line}  FAILED {error}"
    if record:
        recorded[digest] = round(odds, 6)
    return f"{line}  {compare(odds, digest, recorded)}"


def main() -> int:
    """Print the table; with --check, 1 unless every checkpoint that is present loads and scores, and one is present."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help=f"default: {MODELS}")
    parser.add_argument("--check", action="store_true", help="load each checkpoint strictly and score a built-in input")
    parser.add_argument("--record", action="store_true", help=f"as --check, and record the scores in {RECORDED}")
    parser.add_argument("--markdown", action="store_true", help="print the table of inference/README.md and end")
    options = parser.parse_args()
    if options.markdown:
        print(markdown_table(), end="")
        return 0
    print(f"{'member':<8} {'checkpoint':<33} {'network':<16} {'input':<7} {'weight':<7} in {options.models}")
    recorded, check = read_recorded(), options.check or options.record
    lines = [describe(name, options.models, check, recorded, options.record) for name in KNOWN]
    if options.record:
        write_text(RECORDED, json.dumps(recorded, indent=1, sort_keys=True) + "\n")
    print("\n".join(lines))
    absent, failed = sum(line.endswith("absent") for line in lines), sum("FAILED" in line for line in lines)
    print(f"inference.members: {len(lines) - absent - failed} present, {absent} absent, {failed} failed")
    return 1 if failed or (check and absent == len(lines)) else 0


if __name__ == "__main__":
    run_script(main)
