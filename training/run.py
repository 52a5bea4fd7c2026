"""One run of a training: its folder, its log, TensorBoard, validation, checkpoints, and going on after a stop.

<experiments>/<save_path>/<datetime>/
    config.yaml            the resolved config, overrides included
    log.txt                what was printed
    events.out.tfevents.*  TensorBoard: loss, acc1, lr, and per validation set the log losses
    ckpt_iter_N.pth.tar    every val_freq steps and after the last, the newest --keep; ckpt_best.pth.tar the best balanced log loss
    ckpt_iter_N_<set>.csv  per video: video,label,probability
    finished, requeue      marks: the schedule's end was reached; the run was told to stop, saved, and should be started again

SIGTERM and SIGUSR1 (scancel, preemption, the time limit) end a run after its step with a checkpoint and the mark `requeue`.
Everything random depends on the seed and the step, so what goes on after a stop equals what never stopped.
"""

import argparse
import csv
import io
import math
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate
from torch.utils.tensorboard import SummaryWriter

from common.atomic import write_text
from common.device import CHOICES, pick_device
from common.stage import positive
from common.weights import CheckpointError
from training.checkpoint import (
    checkpoint_path,
    checkpoints,
    load_weights,
    newest_checkpoint,
    prune_checkpoints,
    read_checkpoint,
    save_checkpoint,
)
from training.config import TrainingConfig, dump_config
from training.distributed import World, process_group
from training.engine import NonFiniteLossError, make_optimizer, predict, train
from training.metrics import summarise, video_scores
from training.sampler import TrainingSampler


class ValidationSet(Protocol):
    """A data set of (image, index), None for an unreadable one, that knows each index's video and label."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> tuple[Tensor, int] | None: ...
    def video_and_label(self, index: int) -> tuple[str, int]: ...


class TrainingSet(Protocol):
    """A data set by (position, index), of (image or clip, label, names of unreadable crops)."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int, list[str]]: ...
    def sample_name(self, index: int) -> str: ...


class Parts(Protocol):
    """What `image_based` and `video_based` bring: their network and data sets."""

    def model(self, config: TrainingConfig) -> nn.Module: ...
    def train_set(self, config: TrainingConfig) -> TrainingSet: ...
    def validation_sets(self, config: TrainingConfig) -> dict[str, ValidationSet]: ...


def training_parser(description: str | None, experiments: str) -> argparse.ArgumentParser:
    """The options of both trainers."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, metavar="YAML")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override, e.g. lr_scheduler.max_iter=60")
    parser.add_argument("--experiments", type=Path, default=Path(experiments), metavar="DIR", help=f"default: {experiments}")
    parser.add_argument("--datetime", metavar="NOW", help="name of the run's folder (default: the time)")
    parser.add_argument("--recover", action="store_true", help="go on in this config's newest run (or the one of --datetime)")
    parser.add_argument("--distributed_path", type=Path, metavar="DIR", help="absolute, shared by the nodes; Slurm's tasks need it")
    parser.add_argument("--keep", type=positive, default=5, metavar="K", help="checkpoints kept besides the best (default: 5)")
    parser.add_argument("--device", choices=CHOICES, default="auto")
    return parser


def run_training(options: argparse.Namespace, config: TrainingConfig, parts: Parts) -> int:
    """Train as the options say; returns 0. Raises what a user can mend as BadInputError, ConfigError, CheckpointError."""
    with process_group(pick_device(options.device), options.distributed_path) as world:
        runs = options.experiments / config.save_path
        first = run_folder(runs, options.datetime, options.recover) if world.rank == 0 else None
        folder = world.gather(first)[0]  # the clocks of other nodes may differ
        Run(config, folder, world, parts, options.keep).go()
    return 0


class StopRequest:
    """Whether this process was told to stop, by SIGTERM or SIGUSR1."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self.ask)

    def ask(self, *_: object) -> None:
        """The signals' handler."""
        self.asked = True

    def __call__(self) -> bool:
        return self.asked


def run_folder(runs: Path, name: str | None, recover: bool) -> Path:
    """The folder of a new run, or with `recover` the newest one that exists. Raises FileExistsError rather than mix two runs."""
    if recover and name is None and runs.is_dir():
        name = max((run.name for run in runs.iterdir() if run.is_dir() and newest_checkpoint(run)), default=None)
    folder = runs / (name or datetime.now().strftime("%Y%m%d_%H%M%S"))
    if not recover and newest_checkpoint(folder):
        raise FileExistsError(f"{folder} holds a run; go on with --recover or choose another --datetime")
    return folder


def collate_training(samples: list[tuple[Tensor, int, list[str]]]) -> tuple[Tensor, Tensor, list[str]]:
    """Images and labels as batches; the names of unreadable crops in one list."""
    images, labels = default_collate([sample[:2] for sample in samples])
    return images, labels, [name for *_, names in samples for name in names]


def collate_readable(samples: list[tuple[Tensor, int] | None]) -> list[Tensor]:
    """Stack the samples that are not None; no samples make a batch of none."""
    readable = [sample for sample in samples if sample is not None]
    return default_collate(readable) if readable else [torch.empty(0), torch.empty(0, dtype=torch.int64)]


class Run:
    """A training in its folder. Rank 0 alone writes there."""

    def __init__(self, config: TrainingConfig, folder: Path, world: World, parts: Parts, keep: int) -> None:
        self.config, self.folder, self.world, self.keep = config, folder, world, keep
        self.asked_to_stop = StopRequest()
        world.shares(config.reference_world_size)  # refuses a number of processes before anything is written
        torch.manual_seed(config.seed)
        self.train_set = parts.train_set(config)
        self.validation_sets = parts.validation_sets(config)
        network = parts.model(config).to(world.device)
        self.model = DistributedDataParallel(network)  # its `module.` is the prefix of the published names
        self.optimizer = make_optimizer(config, self.model)
        self.best = math.inf
        if world.rank == 0:
            folder.mkdir(parents=True, exist_ok=True)  # only now that all inputs are good
            write_text(folder / "config.yaml", dump_config(config))
            (folder / "requeue").unlink(missing_ok=True)
        self.start = self.recover()
        self.writer = SummaryWriter(folder, purge_step=self.start) if world.rank == 0 else None

    def recover(self) -> int:
        """Load the newest sound checkpoint, if there is one, on every rank the same; return the step to go on with."""
        for path in self.world.gather(checkpoints(self.folder) if self.world.rank == 0 else None)[0]:
            try:
                content = read_checkpoint(path)
                load_weights(self.model.module, content["state_dict"], str(path))
                self.optimizer.load_state_dict(content["optimizer"])
            except (CheckpointError, KeyError) as error:
                self.log(f"{path} is damaged, trying the one before: {error}")
                continue
            self.best = content["best_loss"]
            self.log(f"going on after {path}")
            return content["step"] + 1
        return 0

    def go(self) -> None:
        """Train to the end, or until told to stop."""
        config, scheduler, world = self.config, self.config.lr_scheduler, self.world
        self.log(
            f"{config.arch}: {len(self.train_set)} samples, steps {self.start} to {scheduler.max_iter - 1}, "
            f"{world.size} process{'es' * (world.size > 1)} for the reference's {config.reference_world_size}, {world.device}"
        )
        began = time.perf_counter()
        shares = world.shares(config.reference_world_size)
        sampler = TrainingSampler(
            self.train_set, scheduler.max_iter, config.batch_size, shares, config.reference_world_size, self.start
        )
        batches = self.loader(self.train_set, sampler)
        try:
            next_step = train(
                *(config, self.model, self.optimizer, batches, world, self.start),
                *(self.report, self.checkpoint, self.asked_to_stop),
            )
        except NonFiniteLossError as error:
            if error.step is not None:
                names = ", ".join(self.train_set.sample_name(sample) for _, sample in sampler.of_step(error.step))
                error.add_note(f"samples of step {error.step} on rank {world.rank}: {names}")
            raise
        if world.rank == 0:
            self.end(next_step, time.perf_counter() - began)

    def end(self, next_step: int, seconds: float) -> None:
        """Leave the mark that says how the run ended, after a checkpoint where it was told to stop."""
        finished = next_step == self.config.lr_scheduler.max_iter
        if not finished:
            self.save(next_step - 1, best=False)
        write_text(self.folder / ("finished" if finished else "requeue"), f"{next_step}\n")
        self.writer.close()
        how = "done" if finished else "told to stop, saved, to be started again with --recover"
        self.log(f"{how}: {next_step - self.start} steps in {seconds:.0f} s; {self.folder}")

    def loader(self, data: Dataset, sampler: Sampler) -> DataLoader:
        """Batches of a training set, or of a validation set without what was unreadable, in the sampler's order."""
        return DataLoader(
            data,
            batch_size=self.config.batch_size,
            sampler=sampler,
            collate_fn=collate_training if isinstance(sampler, TrainingSampler) else collate_readable,
            num_workers=self.config.workers,
            pin_memory=self.world.device.type == "cuda",
        )

    def report(self, step: int, means: dict[str, float]) -> None:
        """Print and record rank 0's means of the last steps."""
        if self.world.rank:
            return
        replaced = means.pop("replaced")
        seconds = means.pop("seconds")
        for name, value in means.items():
            self.writer.add_scalar(name, value, step)
        note = f"  {replaced:.2f} unreadable samples a batch replaced" if replaced else ""
        values = "  ".join(f"{name} {value:.4g}" for name, value in means.items())
        self.log(f"step {step}/{self.config.lr_scheduler.max_iter - 1}  {values}  {seconds:.2f} s a step{note}")

    def checkpoint(self, step: int) -> None:
        """Validate on all ranks; write the per-video CSVs, then the checkpoint."""
        self.world.share_buffers(self.model)
        losses = [self.validate(name, data, step) for name, data in self.validation_sets.items()]
        if self.world.rank:
            return
        balanced = losses[0] if losses else math.nan  # the first set decides
        best = balanced < self.best
        self.best = min(self.best, balanced) if not math.isnan(balanced) else self.best
        self.save(step, best)

    def save(self, step: int, best: bool) -> None:
        """Write the checkpoint of a step, and remove the oldest ones."""
        content = {
            "step": step,
            "arch": self.config.arch,
            "state_dict": self.model.state_dict(),
            "best_loss": self.best,
            "optimizer": self.optimizer.state_dict(),
        }
        path = checkpoint_path(self.folder, step)
        save_checkpoint(path, content, best)
        prune_checkpoints(self.folder, self.keep)
        self.log(f"saved {path}{' (best so far)' if best else ''}")

    def validate(self, name: str, data: ValidationSet, step: int) -> float:
        """Score a validation set, each rank its part; record log losses and CSV on rank 0; return the balanced log loss."""
        mine = range(self.world.rank, len(data), self.world.size)
        scored = list(predict(self.model.module, self.loader(data, mine), self.world.device))
        everything = sorted(pair for part in self.world.gather(scored) for pair in part)
        scores = video_scores((*data.video_and_label(index), probability) for index, probability in everything)
        losses = summarise(scores)
        if self.world.rank:
            return losses["video_logloss_balanced"]
        for metric, value in losses.items():
            self.writer.add_scalar(f"{name}/{metric}", value, step)
        table = io.StringIO()
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(("video", "label", "probability"))
        rows.writerows((video, score.label, f"{score.probability:.6f}") for video, score in sorted(scores.items()))
        write_text(self.folder / f"ckpt_iter_{step}_{name}.csv", table.getvalue())
        if len(everything) < len(data):
            self.log(f"validation {name}: {len(data) - len(everything)} of {len(data)} samples are unreadable and left out")
        self.log(f"validation {name}: {len(scores)} videos  " + "  ".join(f"{key} {value:.4f}" for key, value in losses.items()))
        return losses["video_logloss_balanced"]

    def log(self, text: str) -> None:
        """On rank 0, print a line and add it to the run's log."""
        if self.world.rank:
            return
        print(text, flush=True)
        with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(text + "\n")
