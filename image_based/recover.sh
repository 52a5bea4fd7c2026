#!/bin/sh
# Go on with a config's newest run from its newest undamaged checkpoint. It takes the arguments of train.sh.
cd "$(dirname "$0")/.."
[ $# -ge 4 ] || set -- "$@" train
LAUNCHER="image_based/recover.sh" exec sh training/launch.sh image_based.main 8 "$@" --recover
