"""The folders of runs: which run a config belongs to, how far it is, and what may change when it goes on.

A run is bound to the config that it was started with. It is in its folder's config.yaml. This module does not import
PyTorch.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from common.errors import BadInputError
from training.config import ConfigError, TrainingConfig, load_config
from training.schedule import lr_at

CONFIG, FINISHED, REQUEUE = "config.yaml", "finished", "requeue"

# What a run may change while it goes on, because it does not touch what was trained: how it reports and loads, and
# where the same data lies. The schedule may change as well, after the last step trained.
REPORTS = ("print_freq", "val_freq", "workers", "max_bad_fraction")
PATHS = ("train_root", "train_list", "val_root", "val_lists", "pretrained", "save_path")
SCHEDULE = "lr_scheduler."
CHECKPOINT = re.compile(r"ckpt_iter_(\d+)\.pth\.tar")


def checkpoint_path(folder: Path, step: int) -> Path:
    """`ckpt_iter_N.pth.tar` in a run's folder."""
    return folder / f"ckpt_iter_{step}.pth.tar"


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a run's folder, newest first."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted((path for path in found if CHECKPOINT.fullmatch(path.name)), key=step_of, reverse=True)


def step_of(path: Path) -> int:
    """The step in a checkpoint's name. Raises ValueError for another name."""
    match = CHECKPOINT.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path.name} is no checkpoint's name")
    return int(match[1])


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint with the highest step in a run's folder; None if it has none."""
    return next(iter(checkpoints(folder)), None)


def last_step(folder: Path) -> int:
    """The last step that a run has saved; -1 if none."""
    newest = newest_checkpoint(folder)
    return step_of(newest) if newest else -1


def is_finished(folder: Path, config: TrainingConfig) -> bool:
    """Whether a run says that it reached the end of this config's schedule."""
    mark = folder / FINISHED
    return mark.is_file() and mark.read_text(encoding="utf-8").strip() == str(config.lr_scheduler.max_iter)


def by_age(runs: Path) -> list[Path]:
    """The runs of a config's folder that have saved something, the one with the newest checkpoint first."""
    saved = [(newest.stat().st_mtime, run) for run in (runs.iterdir() if runs.is_dir() else ())
             if run.is_dir() and (newest := newest_checkpoint(run))]  # fmt: skip
    return [run for _, run in sorted(saved, reverse=True)]


class Difference(NamedTuple):
    """A key of a config whose value is another one now."""

    key: str
    then: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.then} then, {self.now} now"


def differences(then: TrainingConfig, now: TrainingConfig) -> list[Difference]:
    """The keys in which two configs differ, in order."""
    old, new = flat(asdict(then)), flat(asdict(now))
    keys = [*old, *(key for key in new if key not in old)]
    return [Difference(key, old.get(key), new.get(key)) for key in keys if old.get(key) != new.get(key)]


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as `lr_scheduler.max_iter`. What names lists stays whole."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, dict) and key in ("lr_scheduler", "blend")
        found |= flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found


def touching(then: TrainingConfig, now: TrainingConfig, last: int) -> list[Difference]:
    """The differences that would touch what was trained up to step `last`: no run may go on with them."""
    found = differences(then, now)
    schedule = [difference for difference in found if difference.key.startswith(SCHEDULE)]
    if schedule and now.lr_scheduler.max_iter > last:
        same = all(lr_at(step, then.lr_scheduler) == lr_at(step, now.lr_scheduler) for step in range(last + 1))
        if same:
            found = [difference for difference in found if difference not in schedule]
    return [difference for difference in found if difference.key not in REPORTS + PATHS]


def but_reports(then: TrainingConfig, now: TrainingConfig) -> list[Difference]:
    """The differences between two configs, but for how a run reports and loads."""
    return [difference for difference in differences(then, now) if difference.key not in REPORTS]


Config = TypeVar("Config", bound=TrainingConfig)


class Plan(NamedTuple, Generic[Config]):
    """The run to train in: its folder, its config, and the config that it had so far (None for a new run)."""

    folder: Path
    config: Config
    before: Config | None

    @property
    def last(self) -> int:
        """The last step trained; -1 for a new run."""
        return last_step(self.folder)


class Request(NamedTuple, Generic[Config]):
    """What the options of a training ask for; the fields are named as the options."""

    config: Path
    set: Sequence[str]
    experiments: Path
    datetime: str | None
    kind: type[Config]

    def wanted(self) -> Config:
        """The config with the overrides. Raises ConfigError."""
        return load_config(self.config, self.kind, self.set)

    def new(self) -> Plan[Config]:
        """A run that begins. Raises FileExistsError if its folder already holds one, ConfigError."""
        config = self.wanted()
        name = self.datetime or datetime.now().strftime("%Y%m%d_%H%M%S")
        folder = self.experiments / config.save_path / name
        if newest_checkpoint(folder):
            raise FileExistsError(f"{folder} holds a run; go on with --recover or choose another --datetime")
        return Plan(folder, config, None)

    def saved(self, config: Config) -> list[Path]:
        """The runs of a config's folder, or the one of --datetime, that have saved something; the newest first."""
        runs = by_age(self.experiments / config.save_path)
        return [run for run in runs if self.datetime in (None, run.name)]

    def old(self) -> Plan[Config]:
        """The run of --datetime or else the newest one, with the overrides over its own config; a new one if none is.

        Runs that are not finished come before those that are, then runs of the wanted config before others: a smoke run
        is not taken for the training. Raises ConfigError.
        """
        config = self.wanted()

        def finished_or_another(run: Path) -> tuple[bool, bool]:
            try:
                then = load_config(run / CONFIG, self.kind)
            except (ConfigError, OSError):
                return False, True
            return is_finished(run, then), bool(but_reports(then, config))

        run = min(self.saved(config), key=finished_or_another, default=None)
        if run is None:
            return self.new()
        kept = run / CONFIG
        if not kept.is_file():  # a published checkpoint, put there by hand
            return Plan(run, config, None)
        return Plan(run, load_config(kept, self.kind, self.set), load_config(kept, self.kind))

    def recovered(self, extend: bool) -> Plan[Config]:
        """As `old`, for a run that goes on.

        Raises ConfigError naming every key that differs from the run's config; with `extend` only those that touch what
        was trained.
        """
        plan = self.old()
        if plan.before is not None:
            hopeless = touching(plan.before, plan.config, plan.last)
            if wrong := hopeless if extend else differences(plan.before, plan.config):
                advice = "start a new run for it" if hopeless else "--extend allows it"
                lines = "\n  ".join(map(str, wrong))
                raise ConfigError(f"{plan.folder} is another training; {advice}:\n  {lines}")
        return plan


class State(NamedTuple):
    """Whether a config is to be started, recovered or finished, in which folder, and the runs that are of others."""

    word: Literal["start", "recover", "finished"]
    folder: Path | None
    others: list[str]

    def __str__(self) -> str:
        return self.word if self.folder is None else f"{self.word} {self.folder}"


def state_of(request: Request[Config], recover: bool, extend: bool) -> State:
    """How far the training is that a request asks for.

    With `recover` it is that of the run that recovery takes (`Request.old`), whatever its config. Without, it is that
    of the run whose config is the wanted one but for how it reports; with `extend` also of a run that may go on so. A
    finished run counts before others. Raises BadInputError, among others if `recover` finds no run.
    """
    if recover:
        plan = request.recovered(extend)
        if plan.last < 0:
            raise BadInputError(f"{plan.folder.parent} holds no run to recover")
        differ = differences(plan.config, request.wanted())
        note = [f"{plan.folder} has its own settings: {'; '.join(map(str, differ))}"] if differ else []
        return State("finished" if is_finished(plan.folder, plan.config) else "recover", plan.folder, note)
    wanted = request.wanted()
    mine: list[Path] = []
    others: list[str] = []
    for run in request.saved(wanted):
        try:
            then = load_config(run / CONFIG, request.kind)
        except (ConfigError, OSError) as error:
            others.append(f"{run} is another training: {error}")
            continue
        differ = touching(then, wanted, last_step(run)) if extend else but_reports(then, wanted)
        if differ:
            others.append(f"{run} is another training: {'; '.join(map(str, differ))}")
        else:
            mine.append(run)
    for run in mine:
        if is_finished(run, wanted):
            return State("finished", run, others)
    return State("recover", mine[0], others) if mine else State("start", None, others)
