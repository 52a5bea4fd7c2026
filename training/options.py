"""The options of both trainers."""

import argparse
from pathlib import Path

from common.command import DEVICES, command_parser, positive


def training_parser(package: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of `<package>.main`; its runs are in `<package>/experiments` by default."""
    parser = command_parser(description)
    parser.set_defaults(package=package)
    parser.add_argument("--config", type=Path, required=True, metavar="YAML")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override, e.g. lr_scheduler.max_iter=60"
    )
    parser.add_argument(
        "--experiments",
        type=Path,
        default=Path(package) / "experiments",
        metavar="DIR",
        help=f"folder of all runs (default: {package}/experiments)",
    )
    parser.add_argument("--datetime", metavar="NOW", help="name of the run's folder (default: the time)")
    parser.add_argument(
        "--recover",
        action="store_true",
        help="go on in this config's newest run (or that of --datetime), with the run's own config.yaml; an override "
        "(--set) that differs from it is refused",
    )
    parser.add_argument(
        "--extend",
        action="store_true",
        help="with --recover: allow overrides that do not touch what was trained (the schedule after the last step, "
        "frequencies, workers, paths)",
    )
    parser.add_argument(
        "--distributed-path", type=Path, metavar="DIR", help="absolute, shared by all nodes; needed under Slurm"
    )
    parser.add_argument(  # the spelling of the reference's launch lines
        "--distributed_path", type=Path, default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )
    parser.add_argument(
        "--keep", type=positive, default=5, metavar="K", help="checkpoints kept besides the best (default: 5)"
    )
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16"),
        default="fp32",
        help="bf16: mixed precision, for GPUs that support it (default: fp32)",
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the network first: takes minutes, then steps are faster"
    )
    parser.add_argument(
        "--stall-timeout",
        type=positive,
        default=600,
        metavar="S",
        help="end a run after this many seconds without a step, and log where its threads stand (default: 600)",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--evaluate",
        type=step_range,
        nargs="?",
        const=range(0, 2**62),
        metavar="FIRST:LAST[:EVERY]",
        help="do not train: validate the checkpoints of these steps (default: all) in the newest run or --datetime's",
    )
    instead.add_argument(
        "--show-batch", type=Path, metavar="PNG", help="do not train: draw what the network sees in its first step"
    )
    return parser


def step_range(text: str) -> range:
    """An argparse type: `30000:60000` or `30000:60000:2000`, both ends included. Raises ArgumentTypeError."""
    try:
        first, last, *every = (int(part) for part in text.split(":"))
        return range(first, last + 1, *every)
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST:LAST or FIRST:LAST:EVERY") from error
