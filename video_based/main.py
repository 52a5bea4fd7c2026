"""Stage 5, video networks: train SlowFast-50 on clips of face tracks.

Reads  a config, its lists, its face crops, and the weights it starts from
Writes video_based/experiments/<save_path>/<datetime>/: config.yaml, log.txt, TensorBoard, checkpoints, per-video CSVs

    python -m video_based.main --config video_based/configs/config.yaml
    python -m video_based.main --config ... --set lr_scheduler.max_iter=60 --set batch_size=1 --set pretrained=null
    python -m video_based.main --config ... --show-batch batch.png      # what the network will see
    python -m video_based.main --config ... --evaluate 30000:60000      # validate the newest run's checkpoints again
"""

from functools import partial
from pathlib import Path

from common.command import run_script
from training.checkpoint import load_pretrained
from training.engine import make_optimizer
from training.evaluate import evaluate
from training.options import training_parser
from training.run import run_training
from training.session import Session, data_parallel, training_session
from training.show import show_batch
from training.validation import validation_sets
from video_based.config import VideoConfig
from video_based.dataset import TrainingClips, ValidationClips
from video_based.models import LAST_LAYERS, build_model


def main() -> int:
    """Train, evaluate or draw, as the options ask; return the exit status."""
    options = training_parser("video_based", __doc__).parse_args()
    if options.show_batch:
        return show_batch(options, VideoConfig, TrainingClips)
    with training_session(options, VideoConfig) as session:
        return train_or_evaluate(session)


def train_or_evaluate(session: Session[VideoConfig]) -> int:
    """Build what the config names, then train, or only evaluate; return the exit status."""
    config, all_or_none = session.config, session.world.all_or_none
    val_sets = all_or_none(lambda: validation_sets(config, ValidationClips))
    network = all_or_none(lambda: build_model(config.arch))
    if config.pretrained:
        all_or_none(partial(load_pretrained, network, Path(config.pretrained), LAST_LAYERS[config.arch]))
    if session.options.evaluate is not None:
        return evaluate(session, network, val_sets)
    model = data_parallel(network, session)
    optimizer = make_optimizer(config, model)
    train_set = all_or_none(lambda: TrainingClips(config))
    return run_training(session, model, optimizer, train_set, val_sets)


if __name__ == "__main__":
    run_script(main)
