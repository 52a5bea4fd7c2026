#!/bin/sh
# Go on in a config's newest run (or that of --datetime) from its newest undamaged checkpoint, with the run's own
# config.yaml. The arguments are those of train.sh. A finished run stays as it is.
cd "$(dirname "$0")/.."
[ $# -ge 4 ] || set -- "$@" train
LAUNCHER="video_based/recover.sh" exec sh training/launch.sh video_based.main 16 "$@" --recover
