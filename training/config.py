"""A training's config: a YAML file and overrides from the command line, as checked, typed values.

Unknown and missing keys are errors, because a typo must not start another training than was meant. The error names the
unknown key and the nearest known one. pydantic checks types and values. Every run records its resolved config.
"""

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_type_hints

import yaml
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails
from yaml.composer import ComposerError

from common.errors import BadInputError

UNKNOWN = "unexpected_keyword_argument"  # how pydantic calls an unknown key
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
Triple = Annotated[list[float], Field(min_length=3, max_length=3)]
Shares = Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(min_length=1)]  # list file: its relative weight


class ConfigLoader(yaml.SafeLoader):
    """PyYAML's safe loader, but `1e-4` is a number, as it is everywhere else, and a key given twice is an error."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401  # untyped in PyYAML
        """Raises ComposerError for a key given twice. Merged keys (`<<`) are not here yet, so they may come again."""
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise ComposerError(None, None, f"the key {key.value!r} is given twice", key.start_mark)
            seen.add(key.value)
        return node


FLOAT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$")
ConfigLoader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))


def read_yaml(text: str) -> Any:  # noqa: ANN401  # whatever the text holds
    """The value of a YAML text. Raises YAMLError."""
    return yaml.load(text, ConfigLoader)


class ConfigError(BadInputError):
    """A config or an override is wrong; the message names the key."""


def require(holds: bool, complaint: str) -> None:
    """Raises ValueError with the complaint unless the condition holds."""
    if not holds:
        raise ValueError(complaint)


@dataclass(frozen=True, config=STRICT)
class LRScheduler:
    """Learning rate: linear from base_lr to warmup_lr in warmup_steps, then times each multiplier from its step on.

    With `cosine`, which the reference does not have, it also falls along half a cosine after the warm-up, and reaches 0
    at max_iter.
    """

    base_lr: float
    warmup_lr: float
    warmup_steps: NonNegativeInt
    lr_steps: list[int]
    lr_mults: list[float]
    max_iter: PositiveInt
    cosine: bool = False

    def __post_init__(self) -> None:
        require(len(self.lr_steps) == len(self.lr_mults), "lr_steps and lr_mults differ in length")
        require(self.lr_steps == sorted(self.lr_steps), "lr_steps are not in order")


@dataclass(frozen=True, config=STRICT)
class TrainingConfig:
    """The config keys that image and video trainings share. Paths are relative to the repository's root."""

    arch: str
    pretrained: str | None  # weights to start from; null: random
    train_root: str  # folder that the lists' paths are relative to
    train_list: str | Shares  # several lists: samples are drawn from them in proportion to their weights
    val_root: str
    val_lists: dict[str, str]  # name of a validation set: its list file
    save_path: str  # the folder of this config's runs, in the experiments folder
    input_size: PositiveInt  # pixels
    color: Literal["rgb", "bgr"]
    mean: Triple
    std: Triple
    batch_size: PositiveInt  # per process
    reference_world_size: PositiveInt  # processes of the reference; the loss is divided by it
    workers: NonNegativeInt | Literal["auto"]  # most loader processes per process; auto: all cores but one
    positive_weight: float  # FAKE has twice this class weight, REAL 2 minus that
    momentum: float
    nesterov: bool
    weight_decay: float
    lr_scheduler: LRScheduler
    print_freq: PositiveInt  # steps
    val_freq: PositiveInt  # steps between validations and checkpoints
    seed: int
    max_bad_fraction: float  # training stops if a larger fraction of its crops is unreadable
    # The reference does not have the keys below. `together`: that many consecutive samples share a batch and a draw of
    # augmentation. `mixup`: the fraction of pairs (together: 2) whose two samples are mixed with each other.
    # `optimizer`: adamw takes `momentum` as its first beta. `average`: validation and checkpoints take the moving
    # average of the weights with this decay per step; 0: the weights themselves.
    together: PositiveInt = Field(default=1, kw_only=True)
    mixup: float = Field(default=0.0, kw_only=True, ge=0, le=1)
    optimizer: Literal["sgd", "adamw"] = Field(default="sgd", kw_only=True)
    label_smoothing: float = Field(default=0.0, kw_only=True, ge=0, lt=1)
    average: float = Field(default=0.0, kw_only=True, ge=0, lt=1)

    def __post_init__(self) -> None:
        divides = self.batch_size % self.together == 0
        require(divides, f"batch_size: {self.batch_size} is not a multiple of together, {self.together}")
        require(not self.mixup or self.together == 2, "mixup needs together: 2")

    @property
    def train_lists(self) -> dict[str, float]:
        """The lists of training samples and the share of the samples that comes from each; the sum is 1."""
        return shares_of(self.train_list)


def shares_of(lists: str | dict[str, float]) -> dict[str, float]:
    """The share of each list, for one list or for several with their relative weights; the sum is 1."""
    weights = {lists: 1.0} if isinstance(lists, str) else lists
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


Config = TypeVar("Config", bound=TrainingConfig)
Checked = TypeVar("Checked")  # any class whose fields pydantic checks


def load_config(path: Path, config_type: type[Checked], overrides: Sequence[str] = ()) -> Checked:
    """Read a YAML file, apply overrides such as `lr_scheduler.max_iter=60`, and check keys and values.

    Raises ConfigError if the file or an override is wrong, FileNotFoundError if there is no file.
    """
    try:
        values = read_yaml(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ConfigError(f"{path} is not a map of keys to values")
        for override in overrides:
            _apply(values, override)
        return TypeAdapter(config_type).validate_json(json.dumps(values, default=str))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except ValidationError as error:
        # A key with a typo is unknown, and the right one may be missing: the unknown one says more.
        first = min(error.errors(), key=lambda problem: problem["type"] != UNKNOWN)
        raise ConfigError(f"{path}: {_complaint(first, config_type)}") from error


def dump_config(config: TrainingConfig) -> str:
    """The config as YAML text, with the keys in the order of its class."""
    return yaml.safe_dump(asdict(config), sort_keys=False, allow_unicode=True)


def _apply(values: dict[str, Any], override: str) -> None:
    """Set the key that an override names; unknown keys are found when the whole config is checked."""
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override!r} is not key=value")
    *parents, last = key.split(".")
    for parent in parents:
        inner = values.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {key}: {parent} has no keys")
        values = inner
    values[last] = read_yaml(text)


def _holder(config_type: type[Any], keys: Sequence[int | str]) -> type[Any]:
    """The class of the section of a config that these keys lead to."""
    for key in keys:
        hint = get_type_hints(config_type)[str(key)]
        config_type = next(part for part in (hint, *get_args(hint)) if isinstance(part, type) and is_dataclass(part))
    return config_type


def _complaint(error: ErrorDetails, config_type: type[Any]) -> str:
    """What is wrong, in words, with the name of the key."""
    *_, last = error["loc"] or ("",)
    key = ".".join(map(str, error["loc"]))
    if error["type"] == UNKNOWN:
        known = [field.name for field in fields(_holder(config_type, error["loc"][:-1]))]
        (nearest,) = difflib.get_close_matches(str(last), known, n=1, cutoff=0)
        return f"unknown key {key!r}, the nearest known one is {nearest!r}; known are {', '.join(known)}"
    if error["type"] == "missing":
        return f"missing {key}"
    if error["type"] == "value_error":
        return error["msg"].removeprefix("Value error, ")
    return f"{key}: {error['input']!r}: {error['msg']}"
