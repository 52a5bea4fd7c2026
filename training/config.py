"""A training's YAML file as checked, typed values; overrides from the command line; every resolved config is recorded.

Unknown and missing keys are errors that name the nearest known key: a typo in a config must not train something else.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from common.errors import BadInputError

T = TypeVar("T")


class ConfigError(BadInputError):
    """A config or an override is wrong; the message names the key."""


def require(holds: bool, complaint: str) -> None:
    """Raise ConfigError with the complaint unless it holds."""
    if not holds:
        raise ConfigError(complaint)


@dataclass(frozen=True)
class LRScheduler:
    """Learning rate: linear from base_lr to warmup_lr in warmup_steps, then times each multiplier from its step on.

    `cosine`, which the reference does not have: from the warm-up on it also falls along half a cosine, to 0 at
    max_iter.
    """

    base_lr: float
    warmup_lr: float
    warmup_steps: int
    lr_steps: list[int]
    lr_mults: list[float]
    max_iter: int
    cosine: bool = False

    def __post_init__(self) -> None:
        require(len(self.lr_steps) == len(self.lr_mults), "lr_scheduler: lr_steps and lr_mults differ in length")
        require(self.lr_steps == sorted(self.lr_steps), "lr_scheduler: lr_steps are not in order")
        require(
            self.max_iter > 0 and self.warmup_steps >= 0,
            "lr_scheduler: max_iter must be positive, warmup_steps not negative",
        )


@dataclass(frozen=True)
class TrainingConfig:
    """What the image and the video trainings share. Paths are relative to the repository's root."""

    arch: str
    num_classes: int
    pretrained: str | None  # weights to start from; null: random
    train_root: str  # folder that the lists' paths are relative to
    train_list: str
    val_root: str
    val_lists: dict[str, str]  # name of a validation set: its list
    save_path: str  # folder of this config's runs below the experiments
    input_size: int  # pixels
    color: str  # rgb or bgr
    mean: list[float]
    std: list[float]
    batch_size: int  # per process
    reference_world_size: int  # processes of the reference; the loss is divided by it
    workers: int  # loader processes per process
    positive_weight: float  # class weight of FAKE is twice this, of REAL 2 minus that
    momentum: float
    nesterov: bool
    weight_decay: float
    lr_scheduler: LRScheduler
    print_freq: int  # steps
    val_freq: int  # steps between validations and checkpoints
    seed: int
    max_bad_fraction: float  # training stops when more of its crops than this are unreadable
    together: int = field(
        default=1, kw_only=True
    )  # consecutive samples that share a batch and the draw of their augmentation
    mixup: float = field(
        default=0.0, kw_only=True
    )  # share of the pairs (together: 2) whose samples are mixed with each other

    def __post_init__(self) -> None:
        require(self.color in ("rgb", "bgr"), f"color: {self.color!r} is neither 'rgb' nor 'bgr'")
        require(len(self.mean) == len(self.std) == 3, "mean and std need three values each")
        for name in (
            "num_classes",
            "input_size",
            "batch_size",
            "reference_world_size",
            "print_freq",
            "val_freq",
            "together",
        ):
            require(getattr(self, name) > 0, f"{name}: {getattr(self, name)} is not positive")
        require(
            self.batch_size % self.together == 0,
            f"batch_size: {self.batch_size} is no multiple of together, {self.together}",
        )
        require(0 <= self.mixup <= 1, f"mixup: {self.mixup} is no share")
        require(not self.mixup or self.together == self.num_classes == 2, "mixup needs together: 2 and num_classes: 2")
        for name, path in self.val_lists.items():
            require(isinstance(path, str), f"val_lists: {name}: {path!r} is not a path")


def load_config(path: Path, kind: type[T], overrides: Sequence[str] = ()) -> T:
    """Read a YAML file, apply overrides such as `lr_scheduler.max_iter=60`, check keys and types.
    Raises ConfigError.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {error}") from error
    for override in overrides:
        _apply(values, override, kind)
    return _build(kind, values, str(path))


def dump_config(config: TrainingConfig) -> str:
    """The config as YAML, keys in their own order."""
    return yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True)


def _apply(values: dict[str, Any], override: str, kind: type) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override!r} is not key=value")
    *parents, last = key.split(".")
    for parent in parents:
        if not isinstance(values.get(parent), dict):
            raise ConfigError(f"--set {key}: {_unknown(parent, values)}")
        values, kind = values[parent], get_type_hints(kind).get(parent, dict)
    known = [*values, *(field.name for field in fields(kind))] if is_dataclass(kind) else values
    if last not in known:
        raise ConfigError(f"--set {key}: {_unknown(last, known)}")
    values[last] = yaml.safe_load(text)


def _build(kind: type[T], values: object, where: str) -> T:
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} is not a map of keys to values")
    known = {field.name: field for field in fields(kind)}
    for key in values:
        if key not in known:
            raise ConfigError(f"{where}: {_unknown(str(key), known)}")
    missing = [name for name, field in known.items() if name not in values and field.default is MISSING]
    if missing:
        raise ConfigError(f"{where}: missing {', '.join(missing)}")
    types = get_type_hints(kind)
    return kind(**{key: _convert(types[key], value, f"{where}: {key}") for key, value in values.items()})


def _convert(kind: Any, value: object, where: str) -> Any:  # noqa: ANN401
    if is_dataclass(kind):
        return _build(kind, value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if get_origin(kind) is list and isinstance(value, list):
        return [_convert(get_args(kind)[0], item, where) for item in value]
    plain = get_origin(kind) or kind
    if plain is UnionType:
        plain = get_args(kind)
    if not isinstance(value, plain) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{where}: {value!r} is not {kind.__name__ if plain is kind else kind}")
    return value


def _unknown(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0)
    return f"unknown key {key!r}, the nearest known one is {near[0]!r}" if near else f"unknown key {key!r}"
