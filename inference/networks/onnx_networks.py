"""Members in ONNX Runtime, on the CPU at float32.

A member's ONNX file holds the whole way from RGB crops to logits: colours, normalisation, the mirrored image, the
network. Its weights are those of the checkpoint beside it, which it points into. So it must be made anew, by
`inference.networks.export`, when the checkpoint changes; it holds the checkpoint's sha256.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from common.errors import CheckpointError
from common.files import sha256
from common.onnx_session import load_session, run_session
from inference.members import Member

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

CROPS, LOGITS, MAPS = "crops", "logits", "maps"  # the graph's input and outputs; video members have no maps
CHECKPOINT = "checkpoint_sha256"  # a key of its metadata


@dataclass
class OnnxNetwork:
    """A member's network; see `inference.networks.batches.Network`."""

    member: Member
    session: "InferenceSession"
    is_exact: ClassVar[bool] = True

    def __call__(self, pixels: np.ndarray, exact: bool = False) -> np.ndarray:
        """Crops [N, side, side, 3] -> logits [N, 2], or clips [B, T, side, side, 3] -> [B, 2]."""
        parts = [pixels] if self.member.branch == "image" else pixels
        found = [run_session(self.session, {CROPS: part}, self.member.file, [LOGITS])[0] for part in parts]
        return np.concatenate(found)

    @property
    def has_maps(self) -> bool:
        """Whether its file gives class activation maps; older files do not."""
        return MAPS in (output.name for output in self.session.get_outputs())

    def maps(self, pixels: np.ndarray) -> np.ndarray:
        """Crops [N, side, side, 3] -> class activation maps [N, h, w]."""
        return run_session(self.session, {CROPS: pixels}, self.member.file, [MAPS])[0]


def load_member(member: Member, models: Path, threads: int) -> OnnxNetwork:
    """The member's network. Raises CheckpointError if its ONNX file was made from another checkpoint."""
    path, checkpoint = models / member.onnx, models / member.file
    session = load_session(path, threads, take_turns=True)
    if session.get_modelmeta().custom_metadata_map.get(CHECKPOINT) != sha256(checkpoint):
        raise CheckpointError(
            f"{path} was made from another {checkpoint.name}: run `python -m inference.networks.export` again"
        )
    return OnnxNetwork(member, session)
