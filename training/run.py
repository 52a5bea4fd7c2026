"""One run of a training, in a folder of its own: going on after a stop, validation, checkpoints, and its end.

<experiments>/<save_path>/<datetime>/
    config.yaml            the resolved config, overrides included
    log.txt                what was printed
    events.out.tfevents.*  TensorBoard: loss, acc1, lr, and the log losses of each validation set
    ckpt_iter_N.pth.tar    every val_freq steps and after the last one; the newest --keep of them stay
    ckpt_best.pth.tar      the one with the best balanced log loss on the first validation set
    ckpt_iter_N_<set>.csv  per video: video,label,probability
    config-N.yaml          the config until step N, if it was extended then
    finished               a mark: the run reached the end of the schedule
    requeue                a mark: the run was told to stop and saved; start it again
    lock                   who trains here, or did last (common/lock.py)

SIGTERM and SIGUSR1 (scancel, preemption, the time limit) end a run after its current step, with a checkpoint and the
mark `requeue`. A watchdog ends a run that stalls. Everything random depends only on the seed and the step, so a run
that was stopped and goes on gives the same results as one that never stopped.
"""

import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Generic

from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from common.errors import CheckpointError
from common.files import write_text
from common.labels import LABELS
from common.lock import locked
from training.checkpoint import prune_checkpoints, save_checkpoint
from training.config import Config, dump_config, load_config
from training.engine import train
from training.learner import Learner
from training.loading import TrainingSet, ValidationSet, loader
from training.meter import NonFiniteLossError
from training.recorder import Recorder, origin
from training.run_folders import CONFIG, FINISHED, REQUEUE, checkpoint_path, checkpoints, differences, step_of
from training.sampler import TrainingSampler
from training.session import Session
from training.validation import table_path, validate
from training.watch import STOPPED


def run_training(
    session: Session[Config],
    model: DistributedDataParallel,
    optimizer: Optimizer,
    train_set: TrainingSet,
    validation_sets: Mapping[str, ValidationSet],
) -> int:
    """Train in the session's run folder, from its newest checkpoint if it has one; return the exit status.

    This is 0 at the end of the schedule, and STOPPED for a run that was told to stop, in all processes alike. Raises
    BadInputError if another process trains in the folder, if the number of processes does not divide the reference's,
    or as `training.engine.train` does; CheckpointError if all checkpoints are damaged; NonFiniteLossError.
    """
    session.world.reference_ranks(session.config.reference_world_size)  # raises before anything is written
    run = TrainingRun(session, Learner(session.config, model, optimizer), train_set, validation_sets)
    with ExitStack() as stack:
        session.world.from_rank0(
            lambda: stack.enter_context(locked(run.folder / "lock", f"{run.folder} is being trained already"))
        )
        run.begin()
        return 0 if run.train() else STOPPED


class TrainingRun(Generic[Config]):
    """A training in its folder, where only rank 0 writes. It is the Observer of `training.engine.train`."""

    def __init__(
        self,
        session: Session[Config],
        learner: Learner,
        train_set: TrainingSet,
        validation_sets: Mapping[str, ValidationSet],
    ) -> None:
        self.session, self.learner = session, learner
        self.train_set, self.validation_sets = train_set, validation_sets
        self.config, self.world, self.folder = session.config, session.world, session.run.folder
        self.recorder = Recorder(self.folder, self.world.rank)
        self.start = 0

    # Beginning, or going on after a stop

    def begin(self) -> None:
        """Take up what is saved, write the config, and say what is about to happen.

        Raises CheckpointError if all checkpoints are damaged.
        """
        self.start = self.recover()
        self.world.from_rank0(self.write_config)
        self.world.from_rank0(self.describe)

    def recover(self) -> int:
        """Load the newest undamaged checkpoint, the same on every rank; return the step to go on with.

        This is 0 if there is no checkpoint. Raises CheckpointError if all are damaged.
        """
        paths = self.world.from_rank0(lambda: checkpoints(self.folder))
        for path in paths:
            damage = self.learner.load(path)
            if not self.world.any(damage is not None):  # all ranks or none: one rank's disk may fail
                if not self.judged_alike(step_of(path)):
                    self.learner.best_loss = math.inf
                self.recorder.log(f"going on after {path}")
                return step_of(path) + 1
            self.recorder.log(f"{path} is damaged, trying the one before: {damage or 'another rank says so'}")
        if paths:
            raise CheckpointError(f"no checkpoint in {self.folder} is sound: remove them to begin again")
        return 0

    def judged_alike(self, step: int) -> bool:
        """Whether the best loss until a step comes from the same validation set as the losses to come."""
        then, now, kept = self.session.run.before or self.config, self.config, self.earlier_config(step)
        if kept.is_file():
            then = load_config(kept, type(now))
        return (then.val_root, list(then.val_lists.items())[:1]) == (now.val_root, list(now.val_lists.items())[:1])

    def earlier_config(self, step: int) -> Path:
        """The file of the config that trained until a step, if another one followed."""
        return self.folder / f"config-{step}.yaml"

    def write_config(self) -> None:
        """Write the config, keep the previous one if it was different, and remove marks that no longer hold."""
        before = self.session.run.before
        if before is not None and before != self.config:
            kept = self.earlier_config(self.start - 1)
            if not kept.is_file():  # a config that trained no step does not belong to the past
                write_text(kept, dump_config(before))
            for difference in differences(before, self.config):
                self.recorder.log(f"extended after step {self.start - 1}: {difference}")
        write_text(self.folder / CONFIG, dump_config(self.config))
        (self.folder / REQUEUE).unlink(missing_ok=True)
        if self.start < self.config.lr_scheduler.max_iter:
            (self.folder / FINISHED).unlink(missing_ok=True)

    def describe(self) -> None:
        """Start TensorBoard's file; log what is trained, by what, and what is odd about the data."""
        self.recorder.start_curves(self.start)
        config, size, log = self.config, self.world.size, self.recorder.log
        log(
            f"{config.arch}: {len(self.train_set)} samples, steps {self.start} to {config.lr_scheduler.max_iter - 1}, "
            f"{size} process{'es' * (size > 1)} for the reference's {config.reference_world_size}, {self.world.device}"
        )
        log(origin(self.learner.network))
        labels = {f"val_lists.{name}": data.tracks.labels for name, data in self.validation_sets.items()}
        for name, present in {"train_list": self.train_set.labels, **labels}.items():
            if len(present) == 1:
                log(f"warning: {name} holds only {tuple(LABELS)[present.pop()]}")
        if config.batch_size > len(self.train_set):
            log(f"warning: a batch of {config.batch_size} is larger than the data, {len(self.train_set)} samples")

    # Training

    def train(self) -> bool:
        """Train to the end or until told to stop; return whether the end was reached, the same in all processes."""
        config, world = self.config, self.world
        began = time.perf_counter()
        if self.validation_is_due():
            self.checkpoint(self.start - 1)
        sampler = TrainingSampler(
            self.train_set.parts,
            config.lr_scheduler.max_iter,
            config.batch_size,
            world.reference_ranks(config.reference_world_size),
            config.reference_world_size,
            self.start,
            config.together,
        )
        batches = loader(self.train_set, sampler, config, world.device)
        model, optimizer, average = self.learner.model, self.learner.optimizer, self.learner.average
        try:
            next_step = train(config, model, optimizer, batches, world, self.start, self, average)
        except NonFiniteLossError as error:
            if error.step is not None:
                names = ", ".join(self.train_set.sample_name(sample) for _, sample in sampler.of_step(error.step))
                error.add_note(f"samples of step {error.step} on rank {world.rank}: {names}")
            raise
        # No process leaves before the last checkpoint is written.
        world.from_rank0(lambda: self.end(next_step, time.perf_counter() - began))
        return next_step == config.lr_scheduler.max_iter

    def validation_is_due(self) -> bool:
        """Whether the run ended between a checkpoint and the end of its validation."""
        step, last = self.start - 1, self.config.lr_scheduler.max_iter - 1
        tables = [table_path(self.folder, step, name) for name in self.validation_sets]
        due = step > 0 and (step % self.config.val_freq == 0 or step == last)
        return self.world.from_rank0(lambda: due and not all(table.is_file() for table in tables))

    def end(self, next_step: int, seconds: float) -> None:
        """Write the mark that says how the run ended; save a checkpoint first if it was told to stop."""
        finished = next_step == self.config.lr_scheduler.max_iter
        if not finished:
            self.save(next_step - 1, best=False)
        write_text(self.folder / (FINISHED if finished else REQUEUE), f"{next_step}\n")
        self.recorder.close()
        how = "done" if finished else "told to stop, saved, to be started again with --recover"
        self.recorder.log(f"{how}: {next_step - self.start} steps in {seconds:.0f} s; {self.folder}")

    # The methods of training.engine.Observer

    def report(self, step: int, means: dict[str, float]) -> None:
        """Print and record rank 0's means since the last report."""
        self.recorder.report(step, means, self.config)

    def checkpoint(self, step: int) -> None:
        """Write the checkpoint first, then validate on all ranks, and write it again if it is the best.

        Raises NonFiniteLossError, and removes the checkpoint, if a validation score is not finite.
        """
        self.world.broadcast_buffers(self.learner.model)
        self.world.broadcast_buffers(self.learner.network)
        self.world.from_rank0(lambda: self.save(step, best=False))  # a full disk ends all ranks with status 2
        try:
            losses = [self.validate(name, data, step) for name, data in self.validation_sets.items()]
        except NonFiniteLossError:
            checkpoint_path(self.folder, step).unlink(missing_ok=True)
            raise
        balanced = losses[0] if losses else math.nan  # the first set decides
        if balanced < self.learner.best_loss:
            self.learner.best_loss = balanced
            self.world.from_rank0(lambda: self.save(step, best=True))

    def after_step(self) -> bool:
        """Tell the watchdog; return whether this process was asked to stop."""
        self.session.watchdog.beat()
        return self.session.stop.asked

    def validate(self, name: str, data: ValidationSet, step: int) -> float:
        """Score a validation set, record the result, and return the balanced log loss."""
        validation = validate(self.learner.network, data, self.config, self.world, self.session.watchdog.beat)
        self.world.from_rank0(lambda: validation.write(table_path(self.folder, step, name)))
        self.recorder.validated(name, step, validation)
        return validation.losses["video_logloss_balanced"]

    def save(self, step: int, best: bool) -> None:
        """Write the checkpoint of a step, and remove those older than the newest --keep."""
        path = checkpoint_path(self.folder, step)
        save_checkpoint(path, self.learner.checkpoint(step), best)
        prune_checkpoints(self.folder, self.session.options.keep)
        self.recorder.log(f"saved {path}{' (best so far)' if best else ''}")
