#!/bin/sh
# How the weights that the repository ships are trained: sh shipped/train.sh CROPS...
#
# CROPS are the folders of the tables, archives and crops (make_crop_lists.py says what they hold). Six trainings of
# EfficientNet-lite0 and four of lite2 follow each other, each from what the one before it learned; the two networks are
# trained side by side, on one core each. The first trainings are on DFDC alone. The last of each starts from weights that
# know several sets, at 224 px: lite0 learns mostly from fakes made from real faces (an autoencoder rebuilds them first),
# lite2 mostly from others' fakes. The mean of the weights before and after it is calibrated and written to MODELS
# (default: inference/submit_models), for the input sizes in inference/members.py.
#
# START=shipped begins with the last trainings, at the weights that the repository ships. Stop it at any moment and run it
# again: it goes on. TRAIN_ARGS (default: --compile) are options of the trainings, AUTOENCODER_ARGS (default: none) of the
# autoencoder. PYTHON chooses the interpreter. docs/log/shipped_weights.md says how long each training took and what it
# gave.
set -eu
if [ $# = 0 ]; then
    echo "usage: sh shipped/train.sh CROPS..." >&2
    exit 2
fi
for folder in "$@"; do # make absolute, in place
    shift
    set -- "$@" "$(realpath "$folder")"
done
cd "$(dirname "$0")/.."
if [ -x .venv/bin/python ]; then python=${PYTHON:-.venv/bin/python}; else python=${PYTHON:-python}; fi
runs=image_based/experiments
shipped=inference/submit_models

# Train these configs of network $1, unless that is done, and keep the newest checkpoint of each where the next config
# looks for it.
train() {
    network=$1
    shift
    trap : TERM # the training ends by itself, then this function
    for config in "$@"; do
        run=$runs/${network}_$config/shipped file=image_based/configs/$network/config_$config.yaml
        # shellcheck disable=SC2086  # TRAIN_ARGS is several words or none
        state=$("$python" -m training.state "$file" --datetime shipped ${TRAIN_ARGS---compile})
        case $state in
            "finished "*) ;;
            # shellcheck disable=SC2086
            "recover "*) "$python" -m image_based.main --config "$file" --datetime shipped --recover ${TRAIN_ARGS---compile} ;;
            # A run of other settings may be in the way; the training then says so.
            # shellcheck disable=SC2086
            *) "$python" -m image_based.main --config "$file" --datetime shipped ${TRAIN_ARGS---compile} ;;
        esac
        newest=$(ls -v "$run"/ckpt_iter_*.pth.tar | tail -n 1)
        cp "$newest" "pretrain/${network}_$config.pth.tar"
    done
}

# Start the last training of network $1 from its weights in the repository, unless it began before.
start_from_shipped() {
    [ -f "pretrain/$1_sets160.pth.tar" ] || cp "$shipped/$1.pth.tar" "pretrain/$1_sets160.pth.tar"
}

"$python" make_crop_lists.py --crops "$@"
lite0="faces160 pairs160 pairs192 mixed192 sets160 blends224" lite2="pairs160 pairs192 sets160 fakes224"
if [ "${START:-}" = shipped ]; then
    start_from_shipped lite0
    start_from_shipped lite2
    lite0=blends224 lite2=fakes224
else
    "$python" -m pretrain.download efficientnet-lite0 efficientnet-lite2
fi
# shellcheck disable=SC2086
"$python" -m shipped.autoencoder ${AUTOENCODER_ARGS-}
export OMP_NUM_THREADS=1                             # side by side: 16% faster than one after the other on two cores
trap 'trap "" TERM; kill 0; wait; exit 143' INT TERM # told to stop, both trainings save first
# shellcheck disable=SC2086
train lite0 $lite0 & first=$!
# shellcheck disable=SC2086
train lite2 $lite2 & second=$!
status=0
wait "$first" || status=$?
wait "$second" || status=$?
[ "$status" = 0 ] || exit "$status"
trap - INT TERM
for last in lite0_blends224 lite2_fakes224; do
    network=${last%%_*}
    "$python" -m training.average "pretrain/${network}_sets160.pth.tar" "pretrain/$last.pth.tar" \
        --share 0.7 --output "pretrain/${network}_released.pth.tar"
done
"$python" -m shipped.release pretrain/lite0_released.pth.tar pretrain/lite2_released.pth.tar --models "${MODELS:-$shipped}"
