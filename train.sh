#!/bin/sh
# The eleven trainings in order: sh train.sh PARTITION DIST_DIR [TASK]
#
# It stops at the first training that fails or is told to stop. Run it again to go on: it skips finished trainings and
# recovers the one that was begun. A run counts only if its config.yaml is that of the training (training/state.py), so
# smoke runs with other settings do not. training/launch.sh says how to set the numbers of tasks, GPUs and so on. The
# runs are in image_based/experiments and video_based/experiments, or where --experiments in TRAIN_ARGS says. Nothing
# starts if a list of the first or a starting weight of any is missing.
set -eu
cd "$(dirname "$0")"
if [ $# -lt 2 ] || [ "${1#-}" != "$1" ]; then
    echo "usage: sh train.sh PARTITION DIST_DIR [TASK]" >&2
    exit 2
fi
. slurm/functions.sh
partition=$1 directory=$2 task=${3:-train}
image="b0/config b1/config b1/config_alldata b1/config_long_alldata b3/config r34/config xcep/config"
video="config config_noaug config_16x8 config_alldata"

train() {
    config=$1/configs/$2.yaml
    state=$(training_state "$config") || exit 2
    run=$(basename "${state#* }")
    case $state in
        "finished "*) echo "train.sh: $config is finished: ${state#* }" ;;
        "recover "*) sh "$1/recover.sh" "$config" "$partition" "$directory" "$task" --datetime "$run" ;;
        start) sh "$1/train.sh" "$config" "$partition" "$directory" "$task" ;;
        *) echo "train.sh: unexpected state of $config: $state" >&2; exit 2 ;;
    esac
}

# shellcheck disable=SC2046,SC2086  # several words each
"$local_python" -m training.missing $(printf 'image_based/configs/%s.yaml ' $image) \
    $(printf 'video_based/configs/%s.yaml ' $video) ${TRAIN_ARGS:-}
for name in $image; do train image_based "$name"; done
for name in $video; do train video_based "$name"; done
