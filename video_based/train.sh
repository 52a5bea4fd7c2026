#!/bin/sh
# Train one config: sh video_based/train.sh CONFIG PARTITION DIST_DIR [TASK] [OPTIONS ...]; see training/launch.sh.
cd "$(dirname "$0")/.."
LAUNCHER="video_based/train.sh" exec sh training/launch.sh video_based.main 16 "$@"
