#!/bin/sh
# How the weights that the repository ships are trained: sh shipped/train.sh CROPS
#
# CROPS is the folder of the tables and archives of crops (make_crop_lists.py says what they hold). Five trainings of
# EfficientNet-lite0 and three of lite2 follow each other, each from what the one before it learned: about eight hours on
# two cores. The last of each is on several sets and on self-blended faces, the others on DFDC alone. Stop it at any
# moment and run it again: it goes on. At the end both checkpoints are calibrated and written to MODELS (default:
# inference/submit_models). TRAIN_ARGS (default: --compile) are options of the trainings. PYTHON chooses the interpreter.
# docs/log/shipped_weights.md says what each training gave.
set -eu
if [ $# != 1 ]; then
    echo "usage: sh shipped/train.sh CROPS" >&2
    exit 2
fi
crops=$(realpath "$1")
cd "$(dirname "$0")/.."
if [ -x .venv/bin/python ]; then python=${PYTHON:-.venv/bin/python}; else python=${PYTHON:-python}; fi
runs=image_based/experiments

# Train config $1 of network $2, unless that is done, and keep its newest checkpoint where the next config looks for it.
train() {
    network=$1 config=$2
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
}

"$python" make_crop_lists.py --crops "$crops"
"$python" -m pretrain.download efficientnet-lite0 efficientnet-lite2
for config in faces160 pairs160 pairs192 mixed192 sets160; do train lite0 $config; done
for config in pairs160 pairs192 sets160; do train lite2 $config; done
"$python" -m shipped.release pretrain/lite0_sets160.pth.tar pretrain/lite2_sets160.pth.tar \
    --models "${MODELS:-inference/submit_models}"
