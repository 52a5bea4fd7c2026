"""One run of a training: its folder, its log, TensorBoard, validation, checkpoints, and going on after a stop.

<experiments>/<save_path>/<datetime>/
    config.yaml            the resolved config, overrides included
    log.txt                what was printed
    events.out.tfevents.*  TensorBoard: loss, acc1, lr, and per validation set the log losses
    ckpt_iter_N.pth.tar    every val_freq steps and after the last, the newest --keep; ckpt_best.pth.tar the best
                           balanced log loss
    ckpt_iter_N_<set>.csv  per video: video,label,probability
    config-N.yaml          the config until step N, if it was extended then
    finished               a mark: the run reached the end of the schedule
    requeue                a mark: the run was told to stop and saved; start it again
    lock                   who trains here, or did last (training/lock.py)

SIGTERM and SIGUSR1 (scancel, preemption, the time limit) end a run after its current step, with a checkpoint and the
mark `requeue`. A watchdog ends a run that stalls. Everything random depends only on the seed and the step, so a run
that was stopped and goes on gives the same results as one that never stopped.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.tensorboard import SummaryWriter

from common.command import pick_device
from common.errors import BadInputError, CheckpointError
from common.files import write_text
from common.labels import LABELS
from common.memory import keep_freed_memory
from training.average import Average
from training.checkpoint import load_weights, prune_checkpoints, read_checkpoint, save_checkpoint
from training.config import TrainingConfig, dump_config, load_config
from training.distributed import World, place, process_group
from training.engine import NonFiniteLossError, make_optimizer, train, with_settings_of
from training.evaluate import evaluate
from training.inputs import memory_format
from training.loading import TrainingSet, ValidationSet, loader, start_loader_server
from training.lock import locked
from training.runs import (
    CONFIG,
    FINISHED,
    REQUEUE,
    Plan,
    Request,
    checkpoint_path,
    checkpoints,
    differences,
    newest_checkpoint,
    step_of,
)
from training.sampler import TrainingSampler
from training.show import show_batch
from training.validation import validate
from training.watch import STOPPED, StopRequest, Watchdog

Config = TypeVar("Config", bound=TrainingConfig)


class Parts(NamedTuple, Generic[Config]):
    """What `image_based` and `video_based` bring: their config, network with its starting weights, and data sets."""

    config: type[Config]
    network: Callable[[Config], nn.Module]
    train_set: Callable[[Config], TrainingSet]
    validation_set: Callable[[Config, Path], ValidationSet]

    def validation_sets(self, config: Config) -> dict[str, ValidationSet]:
        """The validation sets by name, one for each list. Raises BadInputError if no crop of a list is readable."""
        sets = {name: self.validation_set(config, Path(list_file)) for name, list_file in config.val_lists.items()}
        for name, data in sets.items():
            tried, readable = data.tracks.any_readable()
            if not readable:
                where = f"{config.val_lists[name]} is readable in {config.val_root} (val_root)"
                raise BadInputError(f"none of {tried} crops tried of {where}")
        return sets


def run_training(options: argparse.Namespace, parts: Parts[Config]) -> int:
    """Do what the options ask; return the exit status: STOPPED for a training that was told to stop.

    Raises BadInputError or OSError for what a user can mend: if in one process, then in all.
    """
    if options.show_batch:
        config = load_config(options.config, parts.config, options.set)
        return show_batch(parts.train_set(config), config, options.show_batch)
    keep_freed_memory()
    stop = StopRequest(listen=options.evaluate is None)  # an evaluation has nothing to save
    with ExitStack() as stack:
        watchdog = stack.enter_context(Watchdog(place().rank, options.stall_timeout))
        bf16 = options.precision == "bf16"
        group = process_group(pick_device(options.device), options.distributed_path, options.stall_timeout, bf16)
        world = stack.enter_context(group)
        plan = world.from_rank0(lambda: planned(options, parts.config))  # the clocks of other nodes may differ
        folder, config = plan.folder, plan.config
        watchdog.beat()
        if config.workers:
            package = parts.train_set.__module__.partition(".")[0]
            start_loader_server(f"{package}.dataset", f"{package}.models", __name__)
        if options.evaluate is not None:
            network, sets = world.all_or_none(lambda: (parts.network(config), parts.validation_sets(config)))
            network = prepared(network, world, options.compile)
            return evaluate(folder, options.evaluate, network, sets, config, world, watchdog.beat)
        run = Run(plan, world, parts, options, stop, watchdog)
        with run.begun():
            finished = run.go()
    return 0 if finished else STOPPED


def planned(options: argparse.Namespace, kind: type[Config]) -> Plan[Config]:
    """The run that the options ask for. Raises as the methods of `training.runs.Request` do."""
    request = Request(options.config, options.set, options.experiments, options.datetime, kind)
    if options.evaluate is not None:
        return request.old()
    if not options.recover:
        return request.new()
    plan = request.recovered(options.extend)
    if plan.before is not None and not options.set and (others := differences(request.wanted(), plan.config)):
        keys = ", ".join(difference.key for difference in others)
        print(f"{plan.folder / CONFIG} counts, not {options.config}, which differs from it in {keys}", flush=True)
    return plan


def prepared(network: nn.Module, world: World, compiled: bool) -> nn.Module:
    """The network on its device, channels last in memory, compiled on demand.

    Channels last is at least as fast as the other order on every device.
    """
    widest = max(network.parameters(), key=Tensor.dim)
    network = network.to(world.device).to(memory_format=memory_format(widest))
    if compiled:
        network.compile()
    return network


class Run(Generic[Config]):
    """A training in its folder. Only rank 0 writes there."""

    def __init__(
        self,
        plan: Plan[Config],
        world: World,
        parts: Parts[Config],
        options: argparse.Namespace,
        stop: StopRequest,
        watchdog: Watchdog,
    ) -> None:
        self.config, self.folder, self.before = plan.config, plan.folder, plan.before
        self.world, self.keep, self.stop, self.watchdog = world, options.keep, stop, watchdog
        self.writer: SummaryWriter | None = None
        self.start = 0
        config = plan.config
        torch.manual_seed(config.seed)
        # All that may fail comes before anything is written.
        self.shares, self.train_set, self.validation_sets, network = world.all_or_none(
            lambda: (
                world.shares(config.reference_world_size),
                parts.train_set(config),
                parts.validation_sets(config),
                parts.network(config),
            )
        )
        # The published names have DistributedDataParallel's prefix `module.`. By default it regroups the gradients
        # after a run's first step. Sums over more than two processes would then come out different after a stop. It
        # does not regroup if it looks for unused parameters, of which there are none.
        self.model = DistributedDataParallel(
            prepared(network, world, options.compile),
            gradient_as_bucket_view=True,
            find_unused_parameters=world.size > 2,
        )
        self.optimizer = make_optimizer(config, self.model)
        self.average = Average(network, config.average) if config.average else None
        self.best = math.inf

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Hold the folder, take up what is saved there, and write the config; raises BadInputError as `locked` does."""
        with ExitStack() as stack:
            self.world.from_rank0(lambda: self.take(stack))
            self.start = self.recover()
            self.world.from_rank0(self.record)
            yield

    def take(self, stack: ExitStack) -> None:
        """Lock the folder until the stack is left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(self.folder))

    def record(self) -> None:
        """Write the config, keep the one before if it was another, remove marks that no longer hold."""
        if self.before is not None and self.before != self.config:
            kept = self.config_of(self.start - 1)
            if not kept.is_file():  # a config that trained no step is not of the past
                write_text(kept, dump_config(self.before))
            for difference in differences(self.before, self.config):
                self.log(f"extended after step {self.start - 1}: {difference}")
        write_text(self.folder / CONFIG, dump_config(self.config))
        (self.folder / REQUEUE).unlink(missing_ok=True)
        if self.start < self.config.lr_scheduler.max_iter:
            (self.folder / FINISHED).unlink(missing_ok=True)
        self.writer = SummaryWriter(self.folder, purge_step=self.start)

    def config_of(self, step: int) -> Path:
        """Where the config is kept that trained up to a step, if another one followed."""
        return self.folder / f"config-{step}.yaml"

    def recover(self) -> int:
        """Load the newest undamaged checkpoint, the same on every rank; return the step to go on with.

        This is 0 if there is no checkpoint. Raises CheckpointError if all are damaged.
        """
        for path in self.world.from_rank0(lambda: checkpoints(self.folder)):
            damage = self.load(path)
            if not self.world.any(damage is not None):  # all ranks or none: one rank's disk may fail
                self.log(f"going on after {path}")
                return step_of(path) + 1
            self.log(f"{path} is damaged, trying the one before: {damage or 'another rank says so'}")
        if newest_checkpoint(self.folder):
            raise CheckpointError(f"no checkpoint in {self.folder} is sound: remove them to begin again")
        return 0

    def load(self, path: Path) -> Exception | None:
        """Take weights, momentum and best loss from a checkpoint; return what is wrong with it."""
        try:
            content = read_checkpoint(path)
            if self.average is not None:
                self.average.load(content, str(path))
            trained = "state_dict" if self.average is None else "trained"
            load_weights(self.model.module, content[trained], str(path))
            self.optimizer.load_state_dict(with_settings_of(self.optimizer, content["optimizer"]))
            self.best = content["best_loss"] if self.judges_as_before(step_of(path)) else math.inf
        except (CheckpointError, KeyError, ValueError) as error:
            return error
        # A loaded momentum may have another memory layout than its parameter, and fused optimizers do not check that.
        for parameter, state in self.optimizer.state.items():
            for name, value in state.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[name] = torch.empty_like(parameter).copy_(value)
        return None

    def judges_as_before(self, step: int) -> bool:
        """Whether the best loss up to a step is of the same validation set as the ones to come."""
        then, now, kept = self.before or self.config, self.config, self.config_of(step)
        if kept.is_file():
            then = load_config(kept, type(now))
        return (then.val_root, list(then.val_lists.items())[:1]) == (now.val_root, list(now.val_lists.items())[:1])

    @property
    def judged(self) -> nn.Module:
        """The network that is validated and saved as `state_dict`: the average, if the config asks for one."""
        network: nn.Module = self.model.module if self.average is None else self.average.network
        return network

    def validation_is_due(self) -> bool:
        """Whether the run ended between a checkpoint and the end of its validation."""
        step, last = self.start - 1, self.config.lr_scheduler.max_iter - 1
        tables = [self.folder / f"ckpt_iter_{step}_{name}.csv" for name in self.validation_sets]
        due = step > 0 and (step % self.config.val_freq == 0 or step == last)
        return self.world.from_rank0(lambda: due and not all(table.is_file() for table in tables))

    def go(self) -> bool:
        """Train to the end or until told to stop; return whether the end was reached, the same in all processes."""
        config, scheduler, world = self.config, self.config.lr_scheduler, self.world
        self.log(
            f"{config.arch}: {len(self.train_set)} samples, steps {self.start} to {scheduler.max_iter - 1}, "
            f"{world.size} process{'es' * (world.size > 1)} for the reference's {config.reference_world_size}, "
            f"{world.device}"
        )
        for name, labels in {
            "train_list": self.train_set.labels,
            **{f"val_lists.{name}": data.tracks.labels for name, data in self.validation_sets.items()},
        }.items():
            if len(labels) == 1:
                self.log(f"warning: {name} holds only {tuple(LABELS)[labels.pop()]}")
        if config.batch_size > len(self.train_set):
            self.log(f"warning: a batch of {config.batch_size} is larger than the data, {len(self.train_set)} samples")
        began = time.perf_counter()
        if self.validation_is_due():
            self.checkpoint(self.start - 1)
        sampler = TrainingSampler(
            self.train_set.parts,
            scheduler.max_iter,
            config.batch_size,
            self.shares,
            config.reference_world_size,
            self.start,
            config.together,
        )
        batches = loader(self.train_set, sampler, config, world.device)
        try:
            next_step = train(config, self.model, self.optimizer, batches, world, self.start, self, self.average)
        except NonFiniteLossError as error:
            if error.step is not None:
                names = ", ".join(self.train_set.sample_name(sample) for _, sample in sampler.of_step(error.step))
                error.add_note(f"samples of step {error.step} on rank {world.rank}: {names}")
            raise
        # No process leaves before the last checkpoint is written.
        world.from_rank0(lambda: self.end(next_step, time.perf_counter() - began))
        return next_step == scheduler.max_iter

    def end(self, next_step: int, seconds: float) -> None:
        """Write the mark that says how the run ended; save a checkpoint first if it was told to stop."""
        finished = next_step == self.config.lr_scheduler.max_iter
        if not finished:
            self.save(next_step - 1, best=False)
        write_text(self.folder / (FINISHED if finished else REQUEUE), f"{next_step}\n")
        if self.writer is not None:
            self.writer.close()
        how = "done" if finished else "told to stop, saved, to be started again with --recover"
        self.log(f"{how}: {next_step - self.start} steps in {seconds:.0f} s; {self.folder}")

    # The methods of training.engine.Observer

    def report(self, step: int, means: dict[str, float]) -> None:
        """Print and record rank 0's means of the last steps."""
        if self.writer is None:
            return
        last, seconds = self.config.lr_scheduler.max_iter - 1, means["seconds"]
        for name in ("loss", "acc1", "lr"):
            self.writer.add_scalar(name, means[name], step)
        values = "  ".join(f"{name} {means[name]:.4g}" for name in ("loss", "acc1", "lr"))
        speed = self.config.batch_size * self.config.reference_world_size / seconds
        left = timedelta(seconds=round((last - step) * seconds))
        note = f"  {means['replaced']:.2f} unreadable samples a batch replaced" if means["replaced"] else ""
        waited = f"waited for data {means['waited']:.0%}"
        self.log(f"step {step}/{last}  {values}  {speed:.4g} samples/s  {waited}  ETA {left}{note}")

    def checkpoint(self, step: int) -> None:
        """Write the checkpoint first, then validate on all ranks, and write it again if it is the best.

        Raises NonFiniteLossError, and removes the checkpoint, if a validation score is not finite.
        """
        self.world.broadcast_buffers(self.model)
        self.world.broadcast_buffers(self.judged)
        self.world.from_rank0(lambda: self.save(step, best=False))  # a full disk ends all ranks with status 2
        try:
            losses = [self.validate(name, data, step) for name, data in self.validation_sets.items()]
        except NonFiniteLossError:
            checkpoint_path(self.folder, step).unlink(missing_ok=True)
            raise
        balanced = losses[0] if losses else math.nan  # the first set decides
        if balanced < self.best:
            self.best = balanced
            self.world.from_rank0(lambda: self.save(step, best=True))

    def after_step(self) -> bool:
        """Tell the watchdog; return whether this process was asked to stop."""
        self.watchdog.beat()
        return self.stop.asked

    def validate(self, name: str, data: ValidationSet, step: int) -> float:
        """Score a validation set; record log losses and CSV on rank 0; return the balanced log loss."""
        validation = validate(self.judged, data, self.config, self.world, self.watchdog.beat)
        self.world.from_rank0(lambda: validation.write(self.folder / f"ckpt_iter_{step}_{name}.csv"))
        if self.writer is not None:
            for metric, value in validation.losses.items():
                self.writer.add_scalar(f"{name}/{metric}", value, step)
            for line in validation.lines(name):
                self.log(line)
        return validation.losses["video_logloss_balanced"]

    def save(self, step: int, best: bool) -> None:
        """Write the checkpoint of a step, and remove those older than the newest --keep."""
        content = {
            "step": step,
            "arch": self.config.arch,
            "state_dict": self.model.state_dict(),
            "best_loss": self.best,
            "optimizer": self.optimizer.state_dict(),
        }
        if self.average is not None:
            content |= {"trained": content["state_dict"], **self.average.state()}
        path = checkpoint_path(self.folder, step)
        save_checkpoint(path, content, best)
        prune_checkpoints(self.folder, self.keep)
        self.log(f"saved {path}{' (best so far)' if best else ''}")

    def log(self, text: str) -> None:
        """On rank 0, print a line and add it to the run's log."""
        if self.world.rank:
            return
        print(text, flush=True)
        try:
            with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
                file.write(text + "\n")
        except OSError as error:  # of this rank alone: the others would wait. The next checkpoint ends all of them.
            print(f"{self.folder / 'log.txt'} lacks this line: {error}", file=sys.stderr, flush=True)
