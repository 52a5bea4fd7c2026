"""How far a training is: what train.sh and recover.sh ask before they start one.

Prints `start`, `recover FOLDER` or `finished FOLDER`. A run counts if the config.yaml in its folder is the config with
the overrides, apart from how a run reports and loads (print_freq, val_freq, workers, max_bad_fraction). So a smoke run
with other settings or data is not taken for the training. Lines on stderr say why other runs do not count. With
--recover the answer is about the run that recovery takes: that of --datetime, or else the newest, where unfinished runs
and those of this config come first.

The options are those of image_based.main and video_based.main. Nothing here imports PyTorch, which takes seconds.

    python -m training.state CONFIG [OPTIONS OF THE TRAINING]
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from common.command import run_script
from training.config import ConfigError, TrainingConfig, read_yaml
from training.options import training_parser
from training.run_folders import RunSearch, progress_of

CONFIG_TYPES = {"image_based": "ImageConfig", "video_based": "VideoConfig"}
VIDEO_ONLY = "sample_duration"  # a key that only configs of video networks have


def package_of(config: Path) -> tuple[str, type[TrainingConfig]]:
    """The package that trains a config, and the class of its config. Raises ConfigError if the file is not YAML."""
    try:
        values = read_yaml(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{config}: {error}") from error
    package = "video_based" if isinstance(values, dict) and VIDEO_ONLY in values else "image_based"
    config_type: Any = getattr(importlib.import_module(f"{package}.config"), CONFIG_TYPES[package])
    return package, config_type


def search_of(words: Sequence[str]) -> tuple[argparse.Namespace, RunSearch[TrainingConfig]]:
    """What `CONFIG [OPTIONS OF THE TRAINING]` asks for: the options, and the search for the config's runs.

    Raises ConfigError if the config is not YAML. Ends the process, as argparse does, for unknown options.
    """
    if words and not words[0].startswith("-"):
        words = ["--config", *words]
    parser = training_parser("<package>", __doc__)
    parser.usage = "python -m training.state CONFIG [OPTIONS OF THE TRAINING]"
    options = parser.parse_args(words)
    package, config_type = package_of(options.config)
    if options.experiments == parser.get_default("experiments"):
        options.experiments = Path(package) / "experiments"
    return options, RunSearch(options.config, options.set, options.experiments, options.datetime, config_type)


def main() -> int:
    """Print the state."""
    options, search = search_of(sys.argv[1:])
    progress = progress_of(search, options.recover, options.extend)
    for note in progress.notes:
        print(f"training.state: {note}", file=sys.stderr)
    print(progress)
    return 0


if __name__ == "__main__":
    run_script(main)
