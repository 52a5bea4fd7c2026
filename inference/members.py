"""The eleven members of the ensemble, one row each (reference, section 3), and the two shipped with the repository.

This module does not import PyTorch; `inference.networks` loads the networks.

    python -m inference.members                # which checkpoints are present, with their sha256
    python -m inference.members --check        # also load each strictly, and compare its score of a built-in input
    python -m inference.members --record       # the same, and record the scores
    python -m inference.members --markdown     # the table of inference/README.md
"""

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from common.command import command_parser, run_script
from common.errors import BadInputError
from common.files import sha256
from inference.scoring import BRANCH_WEIGHTS, GROUP, image_frames

MODELS = Path("inference/submit_models")

Branch = Literal["image", "video"]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
KINETICS = (
    tuple(value / 255 for value in (110.63666788, 103.16065604, 96.29023126)),
    tuple(value / 255 for value in (38.7568578, 37.88248729, 40.02898126)),
)


class CropKind(NamedTuple):
    """Crops as a member sees them.

    `branch` says which frames it sees, and `side` is the side of its crops in pixels. Crops show the middle of the
    square around the face: `crop_fraction` is the side of that middle over the side of the square (1: all of it).
    """

    branch: Branch
    side: int
    crop_fraction: float = 1.0


@dataclass(frozen=True)
class Member:
    """One network of the ensemble, and how it sees faces.

    `file` is its checkpoint, `trained_by` the config that trained it, `size` the side of its input in pixels, `color`
    rgb or bgr, `normalisation` mean and std of levels in [0, 1], `weight` its vote within its branch. `flip` averages
    the logits of the image and its mirror image. `squeeze` pulls confident scores toward 0.5. `crop_fraction` is the
    side of the part of the reference's crop that it sees, over the side of that crop. For a network of your own
    (inference.own_network), `file` is an absolute path, and `trained_by` the file that describes it.
    """

    branch: Branch
    file: str
    trained_by: str
    arch: str
    size: int
    color: str
    normalisation: tuple[tuple[float, ...], tuple[float, ...]]
    weight: float
    flip: bool = False
    squeeze: bool = False
    crop_fraction: float = 1.0

    @property
    def onnx(self) -> str:
        """Its network as ONNX, beside the checkpoint; `inference.networks.export` writes it."""
        return str(Path(self.file.removesuffix(".tar")).with_suffix(".onnx"))

    @property
    def crop_kind(self) -> CropKind:
        """The kind of crops that it sees."""
        return CropKind(self.branch, self.size, self.crop_fraction)


V, B = "video_based/configs", "image_based/configs"
# Two lines per row: its file and the config that trained it, then the network and its input. ruff would take ten.
# fmt: off
MEMBERS = {
    "sf1": Member("video", "sf_bc_jc_44000.pth.tar", f"{V}/config.yaml",
        "slowfast50", 256, "rgb", KINETICS, 10),
    "sf2": Member("video", "sf_32000.pth.tar", f"{V}/config_noaug.yaml",
        "slowfast50", 256, "rgb", KINETICS, 8),
    "sf3": Member("video", "sf_16x8_bc_jc_44000.pth.tar", f"{V}/config_16x8.yaml",
        "slowfast50", 256, "rgb", KINETICS, 4),
    "sf4": Member("video", "sf_trainval_52000.pth.tar", f"{V}/config_alldata.yaml",
        "slowfast50", 256, "rgb", KINETICS, 8),
    "xcp": Member("image", "xcep_bgr_58000.pth.tar", f"{B}/xcep/config.yaml",
        "xception", 299, "bgr", HALF, 10, flip=True),
    "b3": Member("image", "b3_rgb_50000.pth.tar", f"{B}/b3/config.yaml",
        "efficientnet-b3", 299, "rgb", IMAGENET, 6, squeeze=True),
    "res34": Member("image", "res34_rgb_23000.pth.tar", f"{B}/r34/config.yaml",
        "resnet34", 256, "rgb", IMAGENET, 4, flip=True, squeeze=True),
    "b1": Member("image", "b1_rgb_58000.pth.tar", f"{B}/b1/config.yaml",
        "efficientnet-b1", 299, "rgb", IMAGENET, 10, flip=True),
    "b1long": Member("image", "b1_rgb_long_alldata_66000.pth.tar", f"{B}/b1/config_long_alldata.yaml",
        "efficientnet-b1", 299, "rgb", IMAGENET, 8),
    "b1short": Member("image", "b1_rgb_alldata_58000.pth.tar", f"{B}/b1/config_alldata.yaml",
        "efficientnet-b1", 299, "rgb", IMAGENET, 8),
    "b0": Member("image", "b0_rgb_58000.pth.tar", f"{B}/b0/config.yaml",
        "efficientnet-b0", 299, "rgb", IMAGENET, 7, flip=True),
}

# The members shipped with the repository, for users who have none of the eleven: inference/submit_models/README.md.
L0, L2 = f"{B}/lite0/config_blends224.yaml", f"{B}/lite2/config_fakes224.yaml"
SHIPPED = {
    "lite0": Member("image", "lite0.pth.tar", L0,
        "efficientnet-lite0", 192, "rgb", IMAGENET, 1, flip=True, crop_fraction=0.65),
    "lite2": Member("image", "lite2.pth.tar", L2,
        "efficientnet-lite2", 208, "rgb", IMAGENET, 1, flip=True, crop_fraction=0.65),
}
# fmt: on
KNOWN = MEMBERS | SHIPPED


def frames_seen(branch: Branch, frames: int, still: bool = False) -> list[int]:
    """The sampled frames of a video that a branch sees (reference, section 3).

    Video members see all of them, image members see groups of five spread over the video. A still image has one frame,
    which only image members see.
    """
    if still:
        return [0] if branch == "image" else []
    return image_frames(frames) if branch == "image" else list(range(frames))


def group_size(still: bool) -> int:
    """Over how many crops an image member's logits are averaged."""
    return 1 if still else GROUP


class Choice(NamedTuple):
    """The members to score with, and the names of the wanted members without a checkpoint."""

    members: dict[str, Member]
    absent: list[str]


def choose_members(names: str | None, models: Path, allow_missing: bool = False, network: Path | None = None) -> Choice:
    """The members of a comma-separated list, in the order of the table, and that of the YAML file `network`, if given.

    Without a list this one stands alone; without either, they are `default_members`. Raises BadInputError for an
    unknown name, listing the known ones. Also raises it for absent checkpoints, naming each file and its source, unless
    `allow_missing` is set and at least one is present. Raises as `inference.own_network.read_network` does.
    """
    described: dict[str, Member] = {}
    if network is not None:
        from inference.own_network import read_network  # needs packages that the small environment lacks

        described = read_network(network)
    known = KNOWN | described
    wanted = list(described) or default_members(models)
    if names is not None:
        wanted = [*described, *(name.strip() for name in names.split(","))]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise BadInputError(f"unknown members {', '.join(unknown)}; known are {', '.join(known)}")
    chosen = {name: member for name, member in known.items() if name in wanted}
    absent = [name for name, member in chosen.items() if not (models / member.file).is_file()]
    if absent and (not allow_missing or len(absent) == len(chosen)):
        lines = [f"  {name}: {source(chosen[name], models)}" for name in absent]
        raise BadInputError("\n".join([f"{len(absent)} of {len(chosen)} members have no checkpoint:", *lines]))
    return Choice({name: member for name, member in chosen.items() if name not in absent}, absent)


def default_members(models: Path) -> list[str]:
    """The eleven members, or the shipped members that have a checkpoint if none of the eleven has one."""
    present = [name for name, member in KNOWN.items() if (models / member.file).is_file()]
    return present if present and SHIPPED.keys() >= set(present) else list(MEMBERS)


def source(member: Member, models: Path) -> str:
    """Where a member's checkpoint should be, and where it comes from."""
    return f"{models / member.file} (trained by {member.trained_by}, or the reference's published file of that name)"


def final_weights(members: Mapping[str, Member]) -> dict[str, float]:
    """Each member's weight in the final score, if every member has a score; they sum to 1."""
    branches = {member.branch for member in members.values()}
    totals = {
        branch: sum(member.weight for member in members.values() if member.branch == branch) for branch in branches
    }
    parts = BRANCH_WEIGHTS if len(branches) > 1 else dict.fromkeys(branches, 1.0)
    return {name: parts[member.branch] * member.weight / totals[member.branch] for name, member in members.items()}


def crop_kinds(members: Iterable[Member]) -> set[CropKind]:
    """The kinds of crops that members see."""
    return {member.crop_kind for member in members}


def markdown_table() -> str:
    """The members as rows of a Markdown table."""
    lines = [
        "| member | checkpoint | trained by | network | input | colours | flip | squeeze | final weight |",
        "|---" * 9 + "|",
    ]
    final = final_weights(MEMBERS)
    for name, member in MEMBERS.items():
        marks = ["yes" if mark else "" for mark in (member.flip, member.squeeze)]
        cells = [name, member.file, member.trained_by, member.arch, f"{member.size} px", member.color.upper(), *marks]
        lines.append(f"| {' | '.join([*cells, f'{final[name]:.4f}'])} |")
    return "\n".join(lines) + "\n"


def describe(name: str) -> str:
    """The beginning of a member's line, before its checkpoint."""
    member = KNOWN[name]
    weight = (final_weights(MEMBERS) | final_weights(SHIPPED))[name]
    return f"{name:<8} {member.file:<33} {member.arch:<18} {member.size} px  {weight:.4f} "


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = command_parser(__doc__)
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help=f"default: {MODELS}")
    parser.add_argument("--check", action="store_true", help="load each checkpoint and score a built-in input with it")
    parser.add_argument("--record", action="store_true", help="the same, and record the scores for later checks")
    parser.add_argument("--markdown", action="store_true", help="print the table of inference/README.md and end")
    return parser.parse_args()


def main() -> int:
    """Print the members and their checkpoints; with --check return 1 if one fails or none is present, else 0."""
    options = parse_arguments()
    if options.markdown:
        print(markdown_table(), end="")
        return 0
    print(f"{'member':<8} {'checkpoint':<33} {'network':<18} {'input':<7} {'weight':<7} in {options.models}")
    present = {name: path for name, member in KNOWN.items() if (path := options.models / member.file).is_file()}
    digests = {name: sha256(path) for name, path in present.items()}
    odds, failed = dict[str, float](), 0
    for name, member in KNOWN.items():
        text = f"sha256 {digests[name]}" if name in present else "absent"
        if name in present and (options.check or options.record):
            from inference.networks.checkpoints import check, read_recorded  # imports PyTorch, which takes seconds

            try:
                checked, odds[digests[name]] = check(member, options.models, {} if options.record else read_recorded())
                text += f", {checked}"
            except BadInputError as error:
                text += f", FAILED: {error}"
                failed += 1
        print(f"{describe(name)} {text}", flush=True)
    if options.record:
        from inference.networks.checkpoints import record

        record(odds)
    counted = f"{len(present) - failed} present, {len(KNOWN) - len(present)} absent, {failed} failed"
    print(f"inference.members: {counted}")
    return int(failed > 0 or (options.check and not present))


if __name__ == "__main__":
    run_script(main)
