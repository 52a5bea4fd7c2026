"""Stage 5, image networks: train one on single face crops.

Reads  a config, its lists, its face crops, and the weights it starts from
Writes image_based/experiments/<save_path>/<datetime>/: config.yaml, log.txt, TensorBoard, checkpoints, per-video CSVs

    python -m image_based.main --config image_based/configs/b0/config.yaml
    python -m image_based.main --config ... --set lr_scheduler.max_iter=60 --set batch_size=8 --set pretrained=null
    python -m image_based.main --config ... --show-batch batch.png      # what the network will see
    python -m image_based.main --config ... --evaluate 30000:60000     # validate the newest run's checkpoints again
"""

from functools import partial

from common.command import run_script
from image_based.config import ImageConfig
from image_based.dataset import TrainingCrops, ValidationCrops
from image_based.models import LAST_LAYERS, build_model
from training.options import training_parser
from training.pretrained import starting_network
from training.run import Parts, run_training

PARTS = Parts(ImageConfig, partial(starting_network, build_model, LAST_LAYERS), TrainingCrops, ValidationCrops)


def main() -> int:
    """Train, evaluate or draw, as the options ask; return the exit status."""
    return run_training(training_parser(__doc__, "image_based/experiments").parse_args(), PARTS)


if __name__ == "__main__":
    run_script(main)
