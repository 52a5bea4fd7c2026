"""Stage 5, image networks: train one on single face crops.

Reads  a config, its lists, its face crops, and the weights it starts from
Writes image_based/experiments/<save_path>/<datetime>/: config.yaml, log.txt, TensorBoard, checkpoints, per-video CSVs

    python -m image_based.main --config image_based/configs/b0/config.yaml
    python -m image_based.main --config ... --set lr_scheduler.max_iter=60 --set batch_size=8 --set pretrained=null
    python -m image_based.main --config ... --show-batch batch.png      # what the network will see
    python -m image_based.main --config ... --evaluate 30000:60000      # validate the newest run's checkpoints again
"""

from pathlib import Path

from torch import nn

from common.command import run_script
from image_based.config import ImageConfig
from image_based.dataset import TrainingCrops, ValidationCrops
from image_based.models import LAST_LAYERS, build_model
from training.checkpoint import load_pretrained
from training.engine import make_optimizer
from training.evaluate import evaluate
from training.options import training_parser
from training.run import run_training
from training.session import data_parallel, training_session
from training.show import show_batch
from training.validation import validation_sets


def starting_network(config: ImageConfig) -> nn.Module:
    """The config's network with its starting weights, or random ones.

    Raises BadInputError for an unknown arch, CheckpointError for weights that do not fit.
    """
    network = build_model(config.arch)
    if config.pretrained:
        load_pretrained(network, Path(config.pretrained), LAST_LAYERS[config.arch])
    return network


def main() -> int:
    """Train, evaluate or draw, as the options ask; return the exit status."""
    options = training_parser("image_based", __doc__).parse_args()
    if options.show_batch:
        return show_batch(options, ImageConfig, TrainingCrops)
    with training_session(options, ImageConfig) as session:
        config, world = session.config, session.world
        network = world.all_or_none(lambda: starting_network(config))  # all processes go on, or all raise
        val_sets = world.all_or_none(lambda: validation_sets(config, ValidationCrops))
        if options.evaluate is not None:
            return evaluate(session, network, val_sets)
        train_set = world.all_or_none(lambda: TrainingCrops(config))
        model = data_parallel(network, session)
        optimizer = make_optimizer(config, model)
        return run_training(session, model, optimizer, train_set, val_sets)


if __name__ == "__main__":
    run_script(main)
