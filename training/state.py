"""How far a training is: what train.sh and recover.sh ask before they start one.

Prints `start`, `recover FOLDER` or `finished FOLDER`. A run belongs to a config if the config.yaml in its folder is the
same but for how it reports and loads (print_freq, val_freq, workers, max_bad_fraction). So a smoke run with other
settings or data is not taken for the training. Why a run does not count is said on stderr. With --recover the answer is
about the run that recovery takes: that of --datetime, or the newest, unfinished ones and those of this config first.

The options are those of image_based.main and video_based.main.

    python -m training.state CONFIG [OPTIONS OF THE TRAINING]
"""

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

import yaml

from common.command import run_script
from training.config import ConfigError, TrainingConfig, read_yaml
from training.options import training_parser
from training.runs import Request, state_of

KINDS = {"image_based": "ImageConfig", "video_based": "VideoConfig"}
VIDEO_ONLY = "sample_duration"  # a key that only configs of video networks have


def kind_of(config: Path) -> tuple[str, type[TrainingConfig]]:
    """The package that trains a config, and the class of its config. Raises ConfigError if the file is no config."""
    try:
        values = read_yaml(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{config}: {error}") from error
    package = "video_based" if isinstance(values, dict) and VIDEO_ONLY in values else "image_based"
    kind: Any = getattr(importlib.import_module(f"{package}.config"), KINDS[package])
    return package, kind


def main() -> int:
    """Print the state."""
    words = sys.argv[1:]
    if words and not words[0].startswith("-"):
        words = ["--config", *words]
    parser = training_parser(__doc__, "<package>/experiments")
    parser.usage = "python -m training.state CONFIG [OPTIONS OF THE TRAINING]"
    options: argparse.Namespace = parser.parse_args(words)
    package, kind = kind_of(options.config)
    if options.experiments == parser.get_default("experiments"):
        options.experiments = Path(package) / "experiments"
    request = Request(options.config, options.set, options.experiments, options.datetime, kind)
    state = state_of(request, options.recover, options.extend)
    for line in state.others:
        print(f"training.state: {line}", file=sys.stderr)
    print(state)
    return 0


if __name__ == "__main__":
    run_script(main)
