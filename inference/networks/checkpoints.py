"""Check the members' checkpoints: load each strictly, and compare its score of a built-in input with the recorded one.

    python -m inference.networks.checkpoints            loads each that is present and scores a built-in input with it
    python -m inference.networks.checkpoints --record   the same, and records the scores

inference/recorded.json maps the sha256 of a checkpoint to its log odds of the built-in input. A checkpoint whose score
is recorded must give it again. This shows when the upgrade of a library changes a network's output.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import image_based.models
import video_based.models
from common.command import run_script
from common.errors import BadInputError
from common.files import sha256, write_text
from common.torch_files import load_dict
from inference.members import KNOWN, MODELS, Branch, Member, describe, heading
from inference.networks.fold import fastest
from training.checkpoint import load_weights, read_weights
from training.inputs import to_input

RECORDED = Path("inference/recorded.json")
TOLERANCE = 1e-3  # of log odds, between machines: float32 sums differ in their order
BRANCHES = {"image": image_based.models.build_model, "video": video_based.models.build_model}


def load_member(member: Member, models: Path, device: str = "cpu") -> nn.Module:
    """The member's network with its checkpoint, strictly loaded, in its fastest exact form. Raises BadInputError."""
    path = models / member.file
    network = BRANCHES[member.branch](member.arch)
    load_weights(network, read_weights(path), str(path))
    return fastest(network, small_input(member.branch)).to(torch.device(device))


def small_input(branch: Branch) -> Tensor:
    """A small input for running a branch's networks once: a clip [1, 3, 4, 64, 64] or an image [1, 3, 96, 96]."""
    return torch.zeros(1, 3, 4, 64, 64) if branch == "video" else torch.zeros(1, 3, 96, 96)


def check_input(member: Member) -> Tensor:
    """The built-in input: crops of numpy's noise with seed 0, as the member sees them; 8 frames for a video member."""
    frames = 8 if member.branch == "video" else 1
    noise = np.random.RandomState(0).randint(0, 256, (frames, 3, member.size, member.size), dtype=np.uint8)
    images = to_input(torch.from_numpy(noise).movedim(1, -1), member.color, *member.normalisation)
    return images.transpose(0, 1)[None] if member.branch == "video" else images


def check_member(member: Member, models: Path) -> float:
    """Load the member and score the built-in input: the log odds of FAKE.

    Raises BadInputError if the checkpoint does not fit or the score is not finite.
    """
    with torch.inference_mode():
        odds = float(load_member(member, models)(check_input(member)).diff(dim=1).item())
    if not math.isfinite(odds):
        raise BadInputError(f"scores {odds}")
    return odds


def read_recorded(path: Path = RECORDED) -> dict[str, float]:
    """The recorded log odds by the checkpoints' sha256."""
    recorded: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return recorded


def compare(odds: float, digest: str, recorded: dict[str, float]) -> str:
    """The text that compares a checkpoint's score of the built-in input with the recorded one."""
    if digest not in recorded:
        return f"check {odds:.6f}, none recorded"
    if abs(odds - recorded[digest]) > TOLERANCE:
        return f"FAILED scores {odds:.6f}, recorded are {recorded[digest]:.6f}"
    return f"check {odds:.6f} as recorded"


def check(name: str, models: Path, recorded: dict[str, float], record: bool) -> str:
    """A member's line: what its checkpoint holds and how it scores. `record` adds its score to `recorded`."""
    member = KNOWN[name]
    path = models / member.file
    line = describe(name)
    if not path.is_file():
        return f"{line} absent"
    try:
        step = load_dict(path).get("step", "none")
        digest = sha256(path)
        line += f" step {step}  sha256 {digest}"
        odds = check_member(member, models)
    except BadInputError as error:
        return f"{line}  FAILED {error}"
    if record:
        recorded[digest] = round(odds, 6)
    return f"{line}  {compare(odds, digest, recorded)}"


def main() -> int:
    """Check all checkpoints that are present; return 1 if one fails (load or recorded score) or none is present."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=MODELS, metavar="DIR", help=f"default: {MODELS}")
    parser.add_argument("--record", action="store_true", help=f"record the scores in {RECORDED}")
    options = parser.parse_args()
    print(heading(options.models))
    recorded = read_recorded()
    lines = []
    for name in KNOWN:
        lines.append(check(name, options.models, recorded, options.record))
        print(lines[-1], flush=True)
    if options.record:
        write_text(RECORDED, json.dumps(recorded, indent=1, sort_keys=True) + "\n")
    absent, failed = sum(line.endswith("absent") for line in lines), sum("FAILED" in line for line in lines)
    print(f"inference.networks.checkpoints: {len(lines) - absent - failed} present, {absent} absent, {failed} failed")
    return 1 if failed or absent == len(lines) else 0


if __name__ == "__main__":
    run_script(main)
