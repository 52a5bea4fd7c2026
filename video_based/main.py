"""Stage 5, video networks: train SlowFast-50 on clips of face tracks.

Reads  a config, its lists, its face crops, and the weights it starts from
Writes video_based/experiments/<save_path>/<datetime>/: config.yaml, log.txt, TensorBoard, checkpoints, per-video CSVs

    python -m video_based.main --config video_based/configs/config.yaml
    python -m video_based.main --config ... --set lr_scheduler.max_iter=60 --set batch_size=1 --set pretrained=null
"""

from pathlib import Path

from torch import nn

from common.stage import run_script
from pretrain.layouts import load_pretrained
from training.config import load_config
from training.run import run_training, training_parser
from video_based.config import VideoConfig
from video_based.dataset import TrainingClips, ValidationClips
from video_based.models import LAST_LAYERS, build_model


class VideoParts:
    """The network and the data sets of a video training."""

    def model(self, config: VideoConfig) -> nn.Module:
        """The config's network, with its pretrained weights if it names some."""
        model = build_model(config.arch, config.num_classes)
        if config.pretrained:
            load_pretrained(model, Path(config.pretrained), LAST_LAYERS[config.arch])
        return model

    def train_set(self, config: VideoConfig) -> TrainingClips:
        """Augmented clips."""
        return TrainingClips(config)

    def validation_sets(self, config: VideoConfig) -> dict[str, ValidationClips]:
        """One set per validation list."""
        return {name: ValidationClips(config, Path(list_file)) for name, list_file in config.val_lists.items()}


def main() -> int:
    """Train; errors that a user can mend are one line."""
    options = training_parser(__doc__, "video_based/experiments").parse_args()
    return run_training(options, load_config(options.config, VideoConfig, options.set), VideoParts())


if __name__ == "__main__":
    run_script(main)
