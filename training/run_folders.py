"""The folders of runs: which run a config belongs to, how far it is, and what may change when it goes on.

A run is bound to the config that it was started with, which is the config.yaml in its folder. This module does not
import PyTorch.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple

from common.errors import BadInputError
from training.config import Config, ConfigError, TrainingConfig, load_config
from training.schedule import lr_at

CONFIG, FINISHED, REQUEUE = "config.yaml", "finished", "requeue"

# A run may change these keys when it goes on, because they do not touch what was trained: how it reports and loads, and
# where the same data lies. The schedule may change too, after the last step that was trained.
REPORTS = ("print_freq", "val_freq", "workers", "max_bad_fraction")
PATHS = ("train_root", "train_list", "val_root", "val_lists", "pretrained", "save_path")
SCHEDULE = "lr_scheduler."
CHECKPOINT = re.compile(r"ckpt_iter_(\d+)\.pth\.tar")


def checkpoint_path(folder: Path, step: int) -> Path:
    """`ckpt_iter_N.pth.tar` in a run's folder."""
    return folder / f"ckpt_iter_{step}.pth.tar"


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a run's folder, newest first; none if there is no folder."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return sorted((path for path in paths if CHECKPOINT.fullmatch(path.name)), key=step_of, reverse=True)


def step_of(path: Path) -> int:
    """The step in a checkpoint's name. Raises ValueError for another name."""
    match = CHECKPOINT.fullmatch(path.name)
    if match is None:
        raise ValueError(f"{path.name} is not the name of a checkpoint")
    return int(match[1])


def last_step(folder: Path) -> int:
    """The last step that a run has saved; -1 if it has saved none."""
    return max(map(step_of, checkpoints(folder)), default=-1)


def is_finished(folder: Path, config: TrainingConfig) -> bool:
    """Whether a run is marked as having reached the end of this config's schedule."""
    mark = folder / FINISHED
    return mark.is_file() and mark.read_text(encoding="utf-8").strip() == str(config.lr_scheduler.max_iter)


class Difference(NamedTuple):
    """A key of a config whose value has changed."""

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
    """Nested keys joined as in `lr_scheduler.max_iter`. Maps of lists stay as they are."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, dict) and key in ("lr_scheduler", "blend")
        result |= flat(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return result


def forbidden_differences(then: TrainingConfig, now: TrainingConfig, last: int) -> list[Difference]:
    """The differences that would touch what was trained up to step `last`; no run may go on with them."""
    changed = differences(then, now)
    schedule = [difference for difference in changed if difference.key.startswith(SCHEDULE)]
    if schedule and now.lr_scheduler.max_iter > last:
        same = all(lr_at(step, then.lr_scheduler) == lr_at(step, now.lr_scheduler) for step in range(last + 1))
        if same:
            changed = [difference for difference in changed if difference not in schedule]
    return [difference for difference in changed if difference.key not in REPORTS + PATHS]


def training_differences(then: TrainingConfig, now: TrainingConfig) -> list[Difference]:
    """The differences between two configs, without those in how a run reports and loads."""
    return [difference for difference in differences(then, now) if difference.key not in REPORTS]


class ChosenRun(NamedTuple, Generic[Config]):
    """The run to train in: its folder, its config, and the config that it had so far (None for a new run)."""

    folder: Path
    config: Config
    before: Config | None


class RunSearch(NamedTuple, Generic[Config]):
    """Finds the run that a training's options ask for; the fields have the options' names.

    The methods raise ConfigError if the config, an override, or the config.yaml of the run that is taken is wrong.
    """

    config: Path
    set: Sequence[str]
    experiments: Path
    datetime: str | None
    config_type: type[Config]

    def wanted(self) -> Config:
        """The config with the overrides."""
        return load_config(self.config, self.config_type, self.set)

    def new(self) -> ChosenRun[Config]:
        """A run that begins. Raises FileExistsError if its folder already holds one."""
        config = self.wanted()
        name = self.datetime or datetime.now().strftime("%Y%m%d_%H%M%S")
        folder = self.experiments / config.save_path / name
        if checkpoints(folder):
            raise FileExistsError(f"{folder} holds a run; go on with --recover or choose another --datetime")
        return ChosenRun(folder, config, None)

    def saved(self, config: Config) -> list[Path]:
        """The config's runs, or only that of --datetime, which have a checkpoint; the newest checkpoint first."""
        folder = self.experiments / config.save_path
        runs = [run for run in (folder.iterdir() if folder.is_dir() else ()) if self.datetime in (None, run.name)]
        newest = [paths[0] for run in runs if (paths := checkpoints(run))]
        return [path.parent for path in sorted(newest, key=lambda path: (path.stat().st_mtime, path), reverse=True)]

    def existing(self) -> ChosenRun[Config]:
        """The run of --datetime, or else the newest, with the overrides on top of its own config; or else a new one.

        Unfinished runs come before finished ones, then runs of the wanted config before others: a smoke run is not
        taken for the training.
        """
        config = self.wanted()

        def finished_or_another(run: Path) -> tuple[bool, bool]:
            try:
                then = load_config(run / CONFIG, self.config_type)
            except (ConfigError, OSError):
                return False, True
            return is_finished(run, then), bool(training_differences(then, config))

        run = min(self.saved(config), key=finished_or_another, default=None)
        return self.new() if run is None else self.with_its_config(run)

    def newest(self) -> ChosenRun[Config]:
        """The run of --datetime, or else that with the newest checkpoint, with the overrides on top of its own config.

        Raises BadInputError if there is none.
        """
        config = self.wanted()
        if not (runs := self.saved(config)):
            folder = self.experiments / config.save_path / (self.datetime or "")
            raise BadInputError(f"{folder} has no checkpoint in that range, nor any other")
        return self.with_its_config(runs[0])

    def with_its_config(self, run: Path) -> ChosenRun[Config]:
        """A run that has begun, with the overrides on top of its own config."""
        kept = run / CONFIG
        if not kept.is_file():  # a published checkpoint, put there by hand
            return ChosenRun(run, self.wanted(), None)
        return ChosenRun(run, load_config(kept, self.config_type, self.set), load_config(kept, self.config_type))

    def recovered(self, extend: bool) -> ChosenRun[Config]:
        """As `existing`, for a run that goes on.

        Also raises ConfigError naming every key that differs from the run's config; with `extend` only those that touch
        what was trained.
        """
        run = self.existing()
        if run.before is not None:
            hopeless = forbidden_differences(run.before, run.config, last_step(run.folder))
            if wrong := hopeless if extend else differences(run.before, run.config):
                advice = "start a new run for it" if hopeless else "--extend allows it"
                lines = "\n  ".join(map(str, wrong))
                raise ConfigError(f"{run.folder} is another training; {advice}:\n  {lines}")
        return run


class TrainingProgress(NamedTuple):
    """Whether a config is to be started, recovered or finished, in which folder, and why other runs do not count."""

    word: Literal["start", "recover", "finished"]
    folder: Path | None
    notes: list[str]

    def __str__(self) -> str:
        return self.word if self.folder is None else f"{self.word} {self.folder}"


def progress_of(search: RunSearch[Config], recover: bool, extend: bool) -> TrainingProgress:
    """How far a training is.

    With `recover`: how far the run is that recovery takes, whatever its config. Otherwise only runs count whose config
    is the wanted one, apart from how it reports and loads; with `extend` also runs that may go on with the wanted one.
    A finished run counts before others. Raises BadInputError, among others if `recover` finds no run.
    """
    if recover:
        return progress_of_recovery(search, extend)
    wanted = search.wanted()
    matching: list[Path] = []
    notes: list[str] = []
    for run in search.saved(wanted):
        try:
            then = load_config(run / CONFIG, search.config_type)
        except (ConfigError, OSError) as error:
            notes.append(f"{run} is another training: {error}")
            continue
        changed = forbidden_differences(then, wanted, last_step(run)) if extend else training_differences(then, wanted)
        if changed:
            notes.append(f"{run} is another training: {'; '.join(map(str, changed))}")
        else:
            matching.append(run)
    for run in matching:
        if is_finished(run, wanted):
            return TrainingProgress("finished", run, notes)
    return TrainingProgress("recover", matching[0], notes) if matching else TrainingProgress("start", None, notes)


def progress_of_recovery(search: RunSearch[Config], extend: bool) -> TrainingProgress:
    """How far the run is that recovery takes. Raises BadInputError if there is none."""
    run = search.recovered(extend)
    if not checkpoints(run.folder):
        raise BadInputError(f"{run.folder.parent} holds no run to recover")
    changed = differences(run.config, search.wanted())
    notes = [f"{run.folder} has its own settings: {'; '.join(map(str, changed))}"] if changed else []
    return TrainingProgress("finished" if is_finished(run.folder, run.config) else "recover", run.folder, notes)
