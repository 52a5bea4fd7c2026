"""The members' networks on a device: faces of one or several videos in, each video's score by each member out.

All frames, faces and mirrored images go through a network together, up to LIMITS at a time. If memory runs out, the
limit of that network is halved from then on, and a line says so. On a CPU each video is scored alone, so that the last
bits of its score do not depend on the videos beside it.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from common.errors import BadInputError
from inference.checkpoints import load_member
from inference.members import Member
from inference.sampled import Face
from inference.scoring import NOT_FINITE, Score, image_score, video_score
from training.inputs import memory_format, to_input

# tf32: float32, but an NVIDIA GPU rounds the factors of products to ten bits; elsewhere the same as fp32.
PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
VIDEOS_TOGETHER = {"cpu": 1, "cuda": 4}
# How many images (their mirrored ones come on top) or clips go through a network at once. On a CPU more are slower,
# because they do not fit into its caches.
LIMITS = {"cpu": {"image": 4, "video": 1}, "cuda": {"image": 256, "video": 8}}


@dataclass
class Networks:
    """The members' networks on a device. `seconds` adds up how long each member took."""

    members: Mapping[str, tuple[Member, nn.Module]]
    device: str = "cpu"
    precision: str = "fp32"
    limits: dict[str, int] = field(default_factory=dict)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def __post_init__(self) -> None:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = self.precision == "tf32"
        defaults = LIMITS[torch.device(self.device).type]
        self.limits = {name: defaults[member.branch] for name, (member, _) in self.members.items()} | self.limits

    def scores(self, videos: Sequence[Sequence[Face]]) -> list[dict[str, Score]]:
        """Each video's score by each member, from its faces.

        A member whose network gives a video no finite number has no score of it, by the rule NOT_FINITE. At a precision
        below float32 it is first tried again at float32.
        """
        found: list[dict[str, Score]] = [{} for _ in videos]
        for name, (member, _) in self.members.items():
            began = time.perf_counter()
            logits = self.logits(name, [face.crops[member.crop_kind] for faces in videos for face in faces])
            left = iter(logits)
            for scores, faces in zip(found, videos, strict=True):
                mine = [next(left) for _ in faces]
                if not all_finite(mine) and PRECISIONS[self.precision] != torch.float32:
                    mine = self.at_float32(name, [face.crops[member.crop_kind] for face in faces])
                scores[name] = self.score(member, mine) if all_finite(mine) else Score(None, NOT_FINITE)
            self.seconds[name] += time.perf_counter() - began
        return found

    def at_float32(self, name: str, faces: Sequence[np.ndarray]) -> list[np.ndarray]:
        """As `logits`, at float32."""
        chosen, self.precision = self.precision, "fp32"
        try:
            return self.logits(name, faces)
        finally:
            self.precision = chosen

    def score(self, member: Member, logits: list[np.ndarray]) -> Score:
        """A member's score of a video, from its faces' logits."""
        return (
            image_score(logits, member.squeeze)
            if member.branch == "image"
            else video_score([face[0] for face in logits])
        )

    def logits(self, name: str, faces: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each face, from its crops [N, side, side, 3]: the crops' logits [N, 2], or the clip's [1, 2]."""
        member, network = self.members[name]
        if member.branch == "image":
            lengths = np.cumsum([len(crops) for crops in faces])[:-1]
            pixels = np.concatenate(faces) if faces else np.empty((0, member.size, member.size, 3), np.uint8)
            return np.split(self.in_parts(name, pixels, lambda part: self.image_logits(member, network, part)), lengths)
        found: list[np.ndarray] = [np.empty(0)] * len(faces)
        for frames in {len(crops) for crops in faces}:  # clips of one length can go together
            places = [place for place, crops in enumerate(faces) if len(crops) == frames]
            clips = np.stack([faces[place] for place in places])
            for place, logits in zip(
                places, self.in_parts(name, clips, lambda part: self.clip_logits(member, network, part)), strict=True
            ):
                found[place] = logits[None]
        return found

    def in_parts(self, name: str, items: np.ndarray, work: Callable[[np.ndarray], Tensor]) -> np.ndarray:
        """Run `work` on at most the member's limit of items at a time and join the outputs.

        If memory runs out, the limit is halved. Raises BadInputError if one item does not fit into memory.
        """
        outputs, start = [np.empty((0, 2), np.float32)], 0
        while start < len(items):
            part = items[start : start + self.limits[name]]
            try:
                outputs.append(work(part).float().cpu().numpy())
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if len(part) == 1:
                    raise BadInputError(
                        f"no memory for member {name}, one of {items.shape[1:]} at a time: {error}"
                    ) from error
                self.limits[name] = len(part) // 2
                tqdm.write(
                    f"predict: out of memory: {name} goes on with {self.limits[name]} at a time", file=sys.stderr
                )
            else:
                start += len(part)
        return np.concatenate(outputs)

    @torch.inference_mode()
    def image_logits(self, member: Member, network: nn.Module, crops: np.ndarray) -> Tensor:
        """Crops [N, side, side, 3] -> logits [N, 2]; if the member flips, averaged with the mirrored crops' logits."""
        images = self.inputs(member, crops)
        output = self.run(network, torch.cat([images, images.flip(-1)]) if member.flip else images)
        return (output[: len(crops)] + output[len(crops) :]) / 2 if member.flip else output

    @torch.inference_mode()
    def clip_logits(self, member: Member, network: nn.Module, clips: np.ndarray) -> Tensor:
        """Clips [B, T, side, side, 3] -> logits [B, 2]."""
        return self.run(network, self.inputs(member, clips).transpose(1, 2))

    def inputs(self, member: Member, pixels: np.ndarray) -> Tensor:
        """RGB crops [..., side, side, 3] -> the member's input [..., 3, side, side]."""
        return to_input(torch.from_numpy(pixels).to(self.device), member.color, *member.normalisation)

    def run(self, network: nn.Module, inputs: Tensor) -> Tensor:
        """The network's logits [N, 2] at the chosen precision, in float32."""
        dtype = PRECISIONS[self.precision]
        with torch.autocast(torch.device(self.device).type, dtype, enabled=dtype != torch.float32):
            return network(inputs.contiguous(memory_format=memory_format(inputs))).float()


def all_finite(logits: Sequence[np.ndarray]) -> bool:
    """Whether a video's logits are numbers."""
    return all(np.isfinite(face).all() for face in logits)


def load_networks(members: Mapping[str, Member], models: Path, device: str, precision: str) -> Networks:
    """The members' networks with their checkpoints in `models`. Raises BadInputError for one that does not fit."""
    loaded = {name: (member, load_member(member, models, device)) for name, member in members.items()}
    return Networks(loaded, device, precision)


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that a device, one of its libraries, or the CPU's allocator had no memory left."""
    said = str(error)
    return isinstance(error, MemoryError) or any(
        words in said for words in ("out of memory", "ALLOC_FAILED", "can't allocate memory")
    )
