"""Stage 5, video networks: train SlowFast-50 on clips of face tracks.

Reads  a config, its lists, its face crops, and the weights it starts from
Writes video_based/experiments/<save_path>/<datetime>/: config.yaml, log.txt, TensorBoard, checkpoints, per-video CSVs

    python -m video_based.main --config video_based/configs/config.yaml
    python -m video_based.main --config ... --set lr_scheduler.max_iter=60 --set batch_size=1 --set pretrained=null
    python -m video_based.main --config ... --show-batch batch.png      # what the network will see
    python -m video_based.main --config ... --evaluate 30000:60000     # validate the newest run's checkpoints again
"""

from functools import partial

from common.command import run_script
from training.options import training_parser
from training.pretrained import starting_network
from training.run import Parts, run_training
from video_based.config import VideoConfig
from video_based.dataset import TrainingClips, ValidationClips
from video_based.models import LAST_LAYERS, build_model

PARTS = Parts(VideoConfig, partial(starting_network, build_model, LAST_LAYERS), TrainingClips, ValidationClips)


def main() -> int:
    """Train, evaluate or draw, as the options ask; return the exit status."""
    return run_training(training_parser(__doc__, "video_based/experiments").parse_args(), PARTS)


if __name__ == "__main__":
    run_script(main)
