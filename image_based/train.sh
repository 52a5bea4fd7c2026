#!/bin/sh
# Train one config: sh image_based/train.sh CONFIG PARTITION DIST_DIR [TASK] [OPTIONS ...]; see training/launch.sh.
cd "$(dirname "$0")/.."
LAUNCHER="image_based/train.sh" exec sh training/launch.sh image_based.main 8 "$@"
