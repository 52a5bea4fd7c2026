"""Check members' checkpoints: load each strictly, and compare its score of a built-in input with the recorded one.

`inference/recorded.json` maps the sha256 of a checkpoint to its log odds of the built-in input. A checkpoint whose
score is recorded must give it again, so an upgrade of a library that changes a network's output is noticed.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.errors import BadInputError
from common.files import sha256, write_text
from common.torch_files import load_dict
from inference.members import Member
from inference.networks.torch_networks import load_member
from training.inputs import to_input

RECORDED = Path("inference/recorded.json")
TOLERANCE = 1e-3  # of log odds, between machines: float32 sums differ in their order


def check(member: Member, models: Path, recorded: Mapping[str, float]) -> tuple[str, float]:
    """What a member's checkpoint holds and how it compares with the recorded score, as text; and its log odds.

    Raises BadInputError if it does not fit, does not score, or scores otherwise than recorded.
    """
    path = models / member.file
    odds, digest = score_built_in(member, models), sha256(path)
    if digest in recorded and abs(odds - recorded[digest]) > TOLERANCE:
        raise BadInputError(f"it scores {odds:.6f}, but {recorded[digest]:.6f} is recorded")
    known = "as recorded" if digest in recorded else "none recorded"
    return f"step {load_dict(path).get('step', 'none')}, check {odds:.6f}, {known}", odds


def score_built_in(member: Member, models: Path) -> float:
    """Load the member and score the built-in input: the log odds of FAKE.

    Raises BadInputError if the checkpoint does not fit or the score is not finite.
    """
    with torch.inference_mode():
        odds = float(load_member(member, models)(built_in_input(member)).diff(dim=1).item())
    if not math.isfinite(odds):
        raise BadInputError(f"it scores {odds}")
    return odds


def built_in_input(member: Member) -> Tensor:
    """Crops of numpy's noise with seed 0, as the member sees them: [1, 3, S, S], of a video member [1, 3, 8, S, S]."""
    frames = 8 if member.branch == "video" else 1
    noise = np.random.RandomState(0).randint(0, 256, (frames, 3, member.size, member.size), dtype=np.uint8)
    images = to_input(torch.from_numpy(noise).movedim(1, -1), member.color, *member.normalisation)
    return images.transpose(0, 1)[None] if member.branch == "video" else images


def read_recorded(path: Path = RECORDED) -> dict[str, float]:
    """The recorded log odds, by the checkpoints' sha256."""
    recorded: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return recorded


def record(odds: Mapping[str, float], path: Path = RECORDED) -> None:
    """Add log odds, by the checkpoints' sha256, to the recorded ones."""
    merged = read_recorded(path) | {digest: round(value, 6) for digest, value in odds.items()}
    write_text(path, json.dumps(merged, indent=1, sort_keys=True) + "\n")
