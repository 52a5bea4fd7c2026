#!/bin/sh
# Go on in a config's newest run, from its newest sound checkpoint: the arguments of train.sh, nothing to edit.
cd "$(dirname "$0")/.."
[ $# -ge 4 ] || set -- "$@" train
LAUNCHER="image_based/recover.sh" exec sh training/launch.sh image_based.main 8 "$@" --recover
