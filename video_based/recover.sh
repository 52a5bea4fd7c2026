#!/bin/sh
# Go on with a config's newest run from its newest undamaged checkpoint. It takes the arguments of train.sh.
cd "$(dirname "$0")/.."
[ $# -ge 4 ] || set -- "$@" train
LAUNCHER="video_based/recover.sh" exec sh training/launch.sh video_based.main 16 "$@" --recover
