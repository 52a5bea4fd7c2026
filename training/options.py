"""The options of both trainers."""

import argparse
from pathlib import Path

from common.command import DEVICES, positive


def training_parser(description: str | None, experiments: str) -> argparse.ArgumentParser:
    """The parser of both trainers; `experiments` is the default folder of the runs."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, metavar="YAML")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override, e.g. lr_scheduler.max_iter=60"
    )
    parser.add_argument(
        "--experiments", type=Path, default=Path(experiments), metavar="DIR", help=f"default: {experiments}"
    )
    parser.add_argument("--datetime", metavar="NOW", help="name of the run's folder (default: the time)")
    parser.add_argument(
        "--recover",
        action="store_true",
        help="go on in this config's newest run (or the one of --datetime), with the run's own config.yaml; "
        "an override (--set) that differs from it is refused",
    )
    parser.add_argument(
        "--extend",
        action="store_true",
        help="with --recover: allow overrides of what does not touch what was trained (the schedule after the last "
        "step, frequencies, workers, paths)",
    )
    parser.add_argument(
        "--distributed-path", type=Path, metavar="DIR", help="absolute, shared by the nodes; Slurm's tasks need it"
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
        help="bf16: mixed precision, for GPUs that have it (default: fp32)",
    )
    parser.add_argument(
        "--compile", action="store_true", help="compile the network first: minutes at the start, faster steps"
    )
    parser.add_argument(
        "--stall-timeout",
        type=positive,
        default=600,
        metavar="S",
        help="seconds without a step after which a run ends, with the stacks of its threads in the log (default: 600)",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--evaluate",
        type=step_range,
        nargs="?",
        const=range(0, 2**62),
        metavar="FIRST:LAST[:EVERY]",
        help="train nothing, validate the newest run's (or --datetime's) checkpoints of these steps (default: all)",
    )
    instead.add_argument(
        "--show-batch", type=Path, metavar="PNG", help="train nothing, draw what the network sees first"
    )
    return parser


def step_range(text: str) -> range:
    """An argparse type: `30000:60000` or `30000:60000:2000`, both ends included."""
    try:
        first, last, *every = (int(part) for part in text.split(":"))
        return range(first, last + 1, *every)
    except (ValueError, TypeError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST:LAST or FIRST:LAST:EVERY") from error
