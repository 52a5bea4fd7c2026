"""One run of a training: its folder, its log, TensorBoard, validation, checkpoints, and going on after a stop.

<experiments>/<save_path>/<datetime>/
    config.yaml            the resolved config, overrides included
    log.txt                what was printed
    events.out.tfevents.*  TensorBoard: loss, acc1, lr, and per validation set the log losses
    ckpt_iter_N.pth.tar    every val_freq steps and after the last; ckpt_best.pth.tar the best balanced log loss
    ckpt_iter_N_<set>.csv  per video: video,label,probability
"""

import argparse
import csv
import io
import math
import time
from datetime import datetime
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, default_collate
from torch.utils.tensorboard import SummaryWriter

from common.atomic import write_text
from common.device import CHOICES, pick_device
from training.checkpoint import checkpoint_path, load_weights, newest_checkpoint, read_checkpoint, save_checkpoint
from training.config import TrainingConfig, dump_config
from training.distributed import World, process_group
from training.engine import make_optimizer, predict, train
from training.metrics import summarise, video_scores
from training.sampler import TrainingSampler


class ValidationSet(Protocol):
    """A data set of (image, index), None for an unreadable one, that knows each index's video and label."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> tuple[Tensor, int] | None: ...
    def video_and_label(self, index: int) -> tuple[str, int]: ...


class Parts(Protocol):
    """What `image_based` and `video_based` bring: their network and data sets."""

    def model(self, config: TrainingConfig) -> nn.Module: ...
    def train_set(self, config: TrainingConfig) -> Dataset: ...
    def validation_sets(self, config: TrainingConfig) -> dict[str, ValidationSet]: ...


def training_parser(description: str | None, experiments: str) -> argparse.ArgumentParser:
    """The options of both trainers."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, metavar="YAML")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override, e.g. lr_scheduler.max_iter=60")
    parser.add_argument("--experiments", type=Path, default=Path(experiments), metavar="DIR", help=f"default: {experiments}")
    parser.add_argument("--datetime", metavar="NOW", help="name of the run's folder (default: the time)")
    parser.add_argument("--recover", action="store_true", help="go on in this config's newest run (or the one of --datetime)")
    parser.add_argument(
        "--distributed_path", type=Path, metavar="DIR", help="folder of the process group's file (default: temporary)"
    )
    parser.add_argument("--device", choices=CHOICES, default="auto")
    return parser


def run_training(options: argparse.Namespace, config: TrainingConfig, parts: Parts) -> int:
    """Train as the options say; returns 0. Raises what a user can mend as BadInputError, ConfigError, CheckpointError."""
    folder = run_folder(options.experiments / config.save_path, options.datetime, options.recover)
    with process_group(pick_device(options.device), options.distributed_path) as world:
        Run(config, folder, world, parts).go()
    return 0


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
    """A training in its folder."""

    def __init__(self, config: TrainingConfig, folder: Path, world: World, parts: Parts) -> None:
        self.config, self.folder, self.world = config, folder, world
        torch.manual_seed(config.seed)
        self.train_set = parts.train_set(config)
        self.validation_sets = parts.validation_sets(config)
        network = parts.model(config).to(world.device)
        self.model = DistributedDataParallel(network)  # its `module.` is the prefix of the published names
        self.optimizer = make_optimizer(config, self.model)
        self.best = math.inf
        folder.mkdir(parents=True, exist_ok=True)  # only now that all inputs are good
        write_text(folder / "config.yaml", dump_config(config))
        self.start = self.recover()
        self.writer = SummaryWriter(folder, purge_step=self.start)

    def recover(self) -> int:
        """Load the newest checkpoint, if there is one; return the step to go on with."""
        newest = newest_checkpoint(self.folder)
        if newest is None:
            return 0
        content = read_checkpoint(newest)
        load_weights(self.model.module, content["state_dict"], str(newest))
        self.optimizer.load_state_dict(content["optimizer"])
        self.best = content["best_loss"]
        self.log(f"going on after {newest}")
        return content["step"] + 1

    def go(self) -> None:
        """Train to the end."""
        config, scheduler = self.config, self.config.lr_scheduler
        self.log(
            f"{config.arch}: {len(self.train_set)} samples, steps {self.start} to {scheduler.max_iter - 1}, {self.world.device}"
        )
        began = time.perf_counter()
        sampler = TrainingSampler(
            self.train_set, scheduler.max_iter, config.batch_size, self.world.rank, self.world.size, self.start
        )
        batches = self.loader(self.train_set, sampler=sampler)
        train(config, self.model, self.optimizer, batches, self.world.device, self.start, self.report, self.checkpoint)
        self.writer.close()
        self.log(f"done: {scheduler.max_iter - self.start} steps in {time.perf_counter() - began:.0f} s; {self.folder}")

    def loader(self, data: Dataset, sampler: TrainingSampler | None = None) -> DataLoader:
        """Batches of a training set in the sampler's order, or of a validation set in its own, without what was unreadable."""
        return DataLoader(
            data,
            batch_size=self.config.batch_size,
            sampler=sampler,
            collate_fn=collate_training if sampler else collate_readable,
            num_workers=self.config.workers,
            pin_memory=self.world.device.type == "cuda",
        )

    def report(self, step: int, means: dict[str, float]) -> None:
        """Print and record the means of the last steps."""
        replaced = means.pop("replaced")
        seconds = means.pop("seconds")
        for name, value in means.items():
            self.writer.add_scalar(name, value, step)
        note = f"  {replaced:.2f} unreadable samples a step replaced" if replaced else ""
        values = "  ".join(f"{name} {value:.4g}" for name, value in means.items())
        self.log(f"step {step}/{self.config.lr_scheduler.max_iter - 1}  {values}  {seconds:.2f} s a step{note}")

    def checkpoint(self, step: int) -> None:
        """Validate, write the per-video CSVs, then the checkpoint."""
        path = checkpoint_path(self.folder, step)
        losses = [self.validate(name, data, step, path) for name, data in self.validation_sets.items()]
        balanced = losses[0] if losses else math.nan  # the first set decides
        best = balanced < self.best
        self.best = min(self.best, balanced) if not math.isnan(balanced) else self.best
        content = {
            "step": step,
            "arch": self.config.arch,
            "state_dict": self.model.state_dict(),
            "best_loss": self.best,
            "optimizer": self.optimizer.state_dict(),
        }
        save_checkpoint(path, content, best)
        self.log(f"saved {path}{' (best so far)' if best else ''}")

    def validate(self, name: str, data: ValidationSet, step: int, path: Path) -> float:
        """Score a validation set, record its log losses and its CSV; return the balanced log loss."""
        frames = [
            (*data.video_and_label(index), probability)
            for index, probability in predict(self.model.module, self.loader(data), self.world.device)
        ]
        scores = video_scores(frames)
        losses = summarise(scores)
        for metric, value in losses.items():
            self.writer.add_scalar(f"{name}/{metric}", value, step)
        table = io.StringIO()
        rows = csv.writer(table, lineterminator="\n")
        rows.writerow(("video", "label", "probability"))
        rows.writerows((video, score.label, f"{score.probability:.6f}") for video, score in sorted(scores.items()))
        write_text(path.with_name(f"{path.name.removesuffix('.pth.tar')}_{name}.csv"), table.getvalue())
        if len(frames) < len(data):
            self.log(f"validation {name}: {len(data) - len(frames)} of {len(data)} samples are unreadable and left out")
        self.log(f"validation {name}: {len(scores)} videos  " + "  ".join(f"{key} {value:.4f}" for key, value in losses.items()))
        return losses["video_logloss_balanced"]

    def log(self, text: str) -> None:
        """Print a line and add it to the run's log."""
        print(text, flush=True)
        with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(text + "\n")
