#!/bin/sh
# The eleven trainings in order: sh train.sh PARTITION DIST_DIR [TASK]
#
# It stops at the first training that fails or is told to stop. Run it again to go on: it skips finished trainings and
# recovers the one that was begun. For the numbers of tasks, GPUs and so on see training/launch.sh. The runs are in
# image_based/experiments and video_based/experiments.
set -eu
cd "$(dirname "$0")"
if [ $# -lt 2 ]; then
    echo "usage: sh train.sh PARTITION DIST_DIR [TASK]" >&2
    exit 2
fi
partition=$1 directory=$2 task=${3:-train}

train() {
    config=$1/configs/$2.yaml
    runs=$1/experiments/$(sed -n 's/^save_path: *//p' "$config")
    if ls "$runs"/*/finished > /dev/null 2>&1; then
        echo "train.sh: $config is finished"
    elif ls "$runs"/*/ckpt_iter_* > /dev/null 2>&1; then
        sh "$1/recover.sh" "$config" "$partition" "$directory" "$task"
    else
        sh "$1/train.sh" "$config" "$partition" "$directory" "$task"
    fi
}

for name in b0/config b1/config b1/config_alldata b1/config_long_alldata b3/config r34/config xcep/config; do
    train image_based $name
done
for name in config config_noaug config_16x8 config_alldata; do
    train video_based $name
done
