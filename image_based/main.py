"""Stage 5, image networks: train one on single face crops.

Reads  a config, its lists, its face crops, and the weights it starts from
Writes image_based/experiments/<save_path>/<datetime>/: config.yaml, log.txt, TensorBoard, checkpoints, per-video CSVs

    python -m image_based.main --config image_based/configs/b0/config.yaml
    python -m image_based.main --config ... --set lr_scheduler.max_iter=60 --set batch_size=8 --set pretrained=null
"""

from pathlib import Path

from torch import nn

from common.stage import run_script
from image_based.config import ImageConfig
from image_based.dataset import TrainingCrops, ValidationCrops
from image_based.models import LAST_LAYERS, build_model
from pretrain.layouts import load_pretrained
from training.config import load_config
from training.run import run_training, training_parser


class ImageParts:
    """The network and the data sets of an image training."""

    def model(self, config: ImageConfig) -> nn.Module:
        """The config's network, with its pretrained weights if it names some."""
        model = build_model(config.arch, config.num_classes)
        if config.pretrained:
            load_pretrained(model, Path(config.pretrained), LAST_LAYERS[config.arch])
        return model

    def train_set(self, config: ImageConfig) -> TrainingCrops:
        """Augmented crops."""
        return TrainingCrops(config)

    def validation_sets(self, config: ImageConfig) -> dict[str, ValidationCrops]:
        """One set per validation list."""
        return {name: ValidationCrops(config, Path(list_file)) for name, list_file in config.val_lists.items()}


def main() -> int:
    """Train; errors that a user can mend are one line."""
    options = training_parser(__doc__, "image_based/experiments").parse_args()
    return run_training(options, load_config(options.config, ImageConfig, options.set), ImageParts())


if __name__ == "__main__":
    run_script(main)
