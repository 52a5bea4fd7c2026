#!/bin/sh
# Go on in a config's newest run, from its newest sound checkpoint: the arguments of train.sh, nothing to edit.
cd "$(dirname "$0")/.."
[ $# -ge 4 ] || set -- "$@" train
LAUNCHER="video_based/recover.sh" exec sh training/launch.sh video_based.main 16 "$@" --recover
