"""The members' networks: the faces of one or several videos in, each video's score by each member out.

All frames, faces and mirrored images go through a network together, up to LIMITS at a time. If memory runs out, that
network's limit is halved from then on, and a line says so. On a CPU each video is scored alone, so the last bits of its
score do not depend on the videos beside it.

Networks run in ONNX Runtime, which needs no PyTorch and is faster on a CPU, or in PyTorch
(inference.networks.torch_networks). A member can run in ONNX Runtime, on the CPU at float32, if an ONNX file lies
beside its checkpoint. Those of the shipped members are in the repository; `inference.networks.export` writes others.
The file holds every step from RGB crops to logits: colours, normalisation, the mirrored image, and the network with
its weights. It also names these steps and holds the sha256 of its checkpoint, and must be written again when one of
them changes.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from tqdm import tqdm

from common.errors import BadInputError, CheckpointError
from common.files import sha256
from common.onnx_session import give_back_freed_memory, load_session, run_session
from inference.members import Member
from inference.sampling.sampled import Face
from inference.scoring import A_PICTURE, GROUP, NOT_FINITE, Score, image_score, video_score

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

VIDEOS_TOGETHER = {"cpu": 1, "cuda": 4}
# How many images (not counting mirrored ones) or clips go through a network at once. On a CPU more would be slower,
# because they do not fit into its caches.
LIMITS = {"cpu": {"image": 4, "video": 1}, "cuda": {"image": 256, "video": 8}}
CROPS, LOGITS, MAPS = "crops", "logits", "maps"  # an ONNX graph's input and outputs; video members have no maps
CHECKPOINT, INPUT = "checkpoint_sha256", "input"  # keys of its metadata; files of older releases lack the second


class Network(Protocol):
    """A member's network on its device."""

    @property
    def is_exact(self) -> bool:
        """Whether it always computes at float32."""

    def __call__(self, pixels: np.ndarray, exact: bool = False) -> np.ndarray:
        """RGB uint8 crops [N, side, side, 3] -> logits [N, 2]; a video member's clips [B, T, side, side, 3] -> [B, 2].

        If the member flips, the logits are the mean over the crops and their mirror images. `exact` asks for float32.
        Raises MemoryError, or a RuntimeError that `out_of_memory` recognises, if memory runs out.
        """

    @property
    def has_maps(self) -> bool:
        """Whether it gives class activation maps. Video members and older ONNX files do not."""

    def maps(self, pixels: np.ndarray) -> np.ndarray:
        """RGB uint8 crops [N, side, side, 3] -> float32 maps [N, h, w], whose means are the log odds of FAKE."""


@dataclass
class Networks:
    """The members' networks on a device. `seconds` adds up how long each member, and evidence's maps, took."""

    members: Mapping[str, tuple[Member, Network]]
    device: str = "cpu"
    limits: dict[str, int] = field(default_factory=dict)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def __post_init__(self) -> None:
        defaults = LIMITS[self.device.partition(":")[0]]
        self.limits = {name: defaults[member.branch] for name, (member, _) in self.members.items()} | self.limits

    def scores(
        self, videos: Sequence[Sequence[Face]], on_member: Callable[[int], None] = lambda done: None
    ) -> list[dict[str, Score]]:
        """Each video's score by each member, from its faces; `on_member` gets the number of members done so far.

        A member whose network gives no finite number for a video has no score, by the rule NOT_FINITE. Below float32,
        it is tried again at float32 first.
        """
        by_video: list[dict[str, Score]] = [{} for _ in videos]
        for done, (name, (member, network)) in enumerate(self.members.items()):
            on_member(done)
            began = time.perf_counter()
            logits = self.logits(name, [face.crops[member.crop_kind] for faces in videos for face in faces])
            remaining = iter(logits)
            for scores, faces in zip(by_video, videos, strict=True):
                by_face = [next(remaining) for _ in faces]
                if not all_finite(by_face) and not network.is_exact:
                    by_face = self.logits(name, [face.crops[member.crop_kind] for face in faces], exact=True)
                finite = all_finite(by_face)
                scores[name] = member_score(member, by_face, faces) if finite else Score(None, NOT_FINITE)
            self.seconds[name] += time.perf_counter() - began
        return by_video

    def logits(self, name: str, faces: Sequence[np.ndarray], exact: bool = False) -> list[np.ndarray]:
        """Logits for each face, from its crops [N, side, side, 3]: [N, 2] by an image member, [1, 2] by a video member.

        A face without crops gives [0, 2].
        """
        member, network = self.members[name]
        if member.branch == "image":
            lengths = np.cumsum([len(crops) for crops in faces])[:-1]
            pixels = np.concatenate(faces) if faces else np.empty((0, member.size, member.size, 3), np.uint8)
            return np.split(self.in_parts(name, pixels, lambda part: network(part, exact)), lengths)
        by_face: list[np.ndarray] = [np.empty((0, 2))] * len(faces)
        for frames in {len(crops) for crops in faces} - {0}:  # clips of one length can go together
            places = [place for place, crops in enumerate(faces) if len(crops) == frames]
            clips = np.stack([faces[place] for place in places])
            outputs = self.in_parts(name, clips, lambda part: network(part, exact))
            for place, logits in zip(places, outputs, strict=True):
                by_face[place] = logits[None]
        return by_face

    def maps(self, name: str, crops: np.ndarray) -> np.ndarray | None:
        """An image member's class activation maps [N, h, w] of crops [N, side, side, 3]; None if it gives no maps."""
        network = self.members[name][1]
        if not network.has_maps:
            return None
        return self.in_parts(name, crops, network.maps)

    def in_parts(self, name: str, items: np.ndarray, work: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Run `work` on items [N, ...], at most the member's limit at a time, and join the outputs.

        If memory runs out, the limit is halved. Raises BadInputError if a single item does not fit into memory.
        """
        outputs, start = list[np.ndarray](), 0
        while start < len(items):
            part = items[start : start + self.limits[name]]
            try:
                outputs.append(work(part))
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
        return np.concatenate(outputs) if outputs else np.empty((0, 2), np.float32)


def member_score(member: Member, logits: list[np.ndarray], faces: Sequence[Face]) -> Score:
    """A member's score of a video from each face's logits [N, 2]. Only faces that decide count; its parts are all."""
    score = score_of(member, logits, faces)
    decides = [face.decides for face in faces]
    if all(decides):
        return score
    return score_of(member, list(compress(logits, decides)), faces)._replace(parts=score.parts)


def score_of(member: Member, logits: list[np.ndarray], faces: Sequence[Face]) -> Score:
    """A member's score of faces, from the logits [N, 2] of each."""
    if member.branch == "image":
        return image_score(logits, member.squeeze, faces[0].group if faces else GROUP)
    if any(len(face) == 0 for face in logits):
        return Score(None, A_PICTURE, tuple(Score(None, A_PICTURE) for _ in logits))
    return video_score([face[0] for face in logits])


def all_finite(logits: Sequence[np.ndarray]) -> bool:
    """Whether the logits [N, 2] of each of a video's faces are finite."""
    return all(np.isfinite(face).all() for face in logits)


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that a device, one of its libraries, or the CPU's allocator had no memory left."""
    message = str(error)
    return isinstance(error, MemoryError) or any(
        words in message for words in ("out of memory", "ALLOC_FAILED", "can't allocate memory")
    )


@dataclass
class OnnxNetwork:
    """A member's network in ONNX Runtime; see `Network`."""

    member: Member
    session: "InferenceSession"
    is_exact: ClassVar[bool] = True

    def __call__(self, pixels: np.ndarray, exact: bool = False) -> np.ndarray:
        """RGB uint8 crops [N, side, side, 3] -> logits [N, 2], or clips [B, T, side, side, 3] -> [B, 2]."""
        parts = [pixels] if self.member.branch == "image" else pixels
        return np.concatenate([self.run(part, LOGITS) for part in parts])

    @property
    def has_maps(self) -> bool:
        """Whether its file gives class activation maps; those of older releases do not."""
        return MAPS in (output.name for output in self.session.get_outputs())

    def maps(self, pixels: np.ndarray) -> np.ndarray:
        """RGB uint8 crops [N, side, side, 3] -> class activation maps [N, h, w]."""
        return self.run(pixels, MAPS)

    def run(self, crops: np.ndarray, output: str) -> np.ndarray:
        """One output of the graph for RGB crops, uint8 [N, side, side, 3]. Raises MemoryError if memory runs out."""
        return run_session(self.session, {CROPS: crops}, self.member.file, [output])[0]


def describe_input(member: Member) -> str:
    """How a member sees crops, as its ONNX file says it."""
    mean, std = member.normalisation
    return f"{member.size} px, {member.color}, mean {mean}, std {std}{', flip' * member.flip}"


def load_onnx(member: Member, models: Path, threads: int) -> OnnxNetwork:
    """The member's network on `threads` threads.

    Raises CheckpointError if its ONNX file is of another checkpoint, or sees crops in another way than the member.
    """
    path, checkpoint, sees = models / member.onnx, models / member.file, describe_input(member)
    session = load_session(path, threads, take_turns=True)
    metadata = session.get_modelmeta().custom_metadata_map
    again = "run `python -m inference.networks.export` again"
    if metadata.get(CHECKPOINT) != sha256(checkpoint):
        raise CheckpointError(f"{path} was made from another {checkpoint.name}: {again}")
    if metadata.get(INPUT, sees) != sees:
        raise CheckpointError(f"{path} was made for {metadata[INPUT]}, not for {sees}: {again}")
    return OnnxNetwork(member, session)


def load_networks(
    members: Mapping[str, Member],
    models: Path,
    device: str = "cpu",
    precision: str = "fp32",
    runtime: str = "torch",
    threads: int = 1,
) -> Networks:
    """Load the members' networks from the folder `models`; `threads` is for ONNX Runtime.

    Raises BadInputError for a checkpoint that does not fit, or an ONNX file that was not made from it.
    """
    if runtime == "onnx":
        networks = Networks({name: (member, load_onnx(member, models, threads)) for name, member in members.items()})
        give_back_freed_memory()  # ONNX Runtime has rearranged the weights
        return networks
    from inference.networks.torch_networks import load_networks as load  # imports PyTorch, which takes seconds

    return load(members, models, device, precision)
