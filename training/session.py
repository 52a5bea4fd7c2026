"""What surrounds a training or an evaluation: its process group, its watchdog, requests to stop, and the chosen run."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from common.command import pick_device
from common.memory import keep_freed_memory
from training.config import Config
from training.distributed import World, place, process_group
from training.inputs import memory_format
from training.loading import start_loader_server
from training.missing import require_files
from training.run_folders import CONFIG, ChosenRun, RunSearch, differences
from training.watch import StopRequest, Watchdog


class Session(NamedTuple, Generic[Config]):
    """The options, the processes and the run of a training or an evaluation."""

    options: argparse.Namespace
    world: World
    run: ChosenRun[Config]
    stop: StopRequest
    watchdog: Watchdog

    @property
    def config(self) -> Config:
        """The run's config."""
        return self.run.config


@contextmanager
def training_session(options: argparse.Namespace, config_type: type[Config]) -> Iterator[Session[Config]]:
    """Join the processes that were started together, and choose the run that the options ask for.

    Random numbers of PyTorch start from the config's seed. Raises BadInputError or OSError, in all processes alike, if
    the options or the config are wrong.
    """
    keep_freed_memory()
    stop = StopRequest(listen=options.evaluate is None)  # an evaluation has nothing to save
    device, bf16 = pick_device(options.device), options.precision == "bf16"
    with (
        Watchdog(place().rank, options.stall_timeout) as watchdog,
        process_group(device, options.distributed_path, options.stall_timeout, bf16) as world,
    ):
        run = world.from_rank0(lambda: choose_run(options, config_type))  # the clocks of other nodes may differ
        watchdog.beat()
        world.all_or_none(lambda: require_files(run.config, options.evaluate is not None))
        if run.config.workers:
            start_loader_server(f"{options.package}.dataset", f"{options.package}.models", "training.run")
        torch.manual_seed(run.config.seed)
        yield Session(options, world, run, stop, watchdog)


def choose_run(options: argparse.Namespace, config_type: type[Config]) -> ChosenRun[Config]:
    """The run that the options ask for. Raises as the methods of RunSearch do."""
    search = RunSearch(options.config, options.set, options.experiments, options.datetime, config_type)
    if options.evaluate is not None:
        return search.newest()
    if not options.recover:
        return search.new()
    run = search.recovered(options.extend)
    if run.before is not None and not options.set and (others := differences(search.wanted(), run.config)):
        keys = ", ".join(difference.key for difference in others)
        print(f"{run.folder / CONFIG} counts, not {options.config}, which differs from it in {keys}", flush=True)
    return run


def on_device(network: nn.Module, session: Session[Config]) -> nn.Module:
    """The network on its device, channels last in memory, and compiled if the options ask for it.

    Channels last is at least as fast as the other order on every device.
    """
    widest = max(network.parameters(), key=Tensor.dim)
    network = network.to(session.world.device).to(memory_format=memory_format(widest))
    if session.options.compile:
        network.compile()
    return network


def data_parallel(network: nn.Module, session: Session[Config]) -> DistributedDataParallel:
    """The network on its device, with gradients averaged over all processes.

    The published checkpoints' names have DistributedDataParallel's prefix `module.`. By default it regroups the
    gradients after a run's first step. Sums over more than two processes would then come out different after a stop. It
    does not regroup if it looks for unused parameters, of which there are none.
    """
    return DistributedDataParallel(
        on_device(network, session), gradient_as_bucket_view=True, find_unused_parameters=session.world.size > 2
    )
