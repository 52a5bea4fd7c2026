#!/bin/sh
# The whole solution on one page: from a folder of videos to submission.csv.
#
#     sh reproduce.sh PARTITION     # under Slurm: trains the eleven networks of the reference
#     make demo                     # the same page on sample clips, on this machine, with one small training
#
# Each command below can be run by hand. Each skips what is done and resumes where it was stopped, so after an
# interruption run the page again. It stops at the first command that fails.
#
# Variables of the environment say where things are; their defaults are the contest's:
#   DATA     holds DFDC-Kaggle/<part>/*.mp4 with metadata.json, and gets what stages 1 to 4 make    .
#   TEST     folder of the videos to score                                                        test_videos
#   LIST     a CSV with a column `filename`: which of them, in which order                          sample_submission.csv
#   OUTPUT   the submission                                                                         submission.csv
#   MODELS   where the members' checkpoints go                                                      inference/submit_models
#   MEMBERS  the members to score with, separated by commas                                         all eleven
#   DIST     an absolute folder on which all nodes agree, for the process groups                    $PWD/distributed
#   TRAIN    a command that trains instead of train.sh; without PARTITION it must be given
#   COLLECT  more options of inference.collect
#   PYTHON   the interpreter                                                                        .venv/bin/python
set -eu
cd "$(dirname "$0")"
partition=${1:-} data=${DATA:-.} list=${LIST:-sample_submission.csv} test=${TEST:-test_videos}
models=${MODELS:-inference/submit_models} output=${OUTPUT:-submission.csv} python=${PYTHON:-.venv/bin/python}
members=${MEMBERS:-sf1,sf2,sf3,sf4,xcp,b3,res34,b1,b1long,b1short,b0}
if [ -z "$partition${TRAIN:-}" ] || [ "${partition#-}" != "$partition" ]; then
    echo "usage: sh reproduce.sh PARTITION" >&2
    exit 2
fi

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}
export SBATCH_ARGS="${SBATCH_ARGS:-} --wait" # preprocess.sh and predict.sh return when their jobs have ended

# Fetched: the weights of the detector, and those from which the trainings start.
run "$python" -m pretrain.retinaface
[ -z "$partition" ] || run "$python" -m pretrain.download

# Stages 1 to 3: frames, face boxes and aligned faces, in one pass over each video.
set -- --videos "$data/DFDC-Kaggle" --faces "$data/DFDC-Kaggle_Alignedface"
[ -z "$partition" ] || run sh preprocess.sh "$partition" 100 preprocess "$@"
[ -n "$partition" ] || run "$python" preprocess.py "$@"

# Stage 4: the lists of faces to train and validate on.
run "$python" make_lists.py "$@" --lists "$data/DFDC-Kaggle_list" --public-val "$list"

# Stage 5: the trainings, and the checkpoints that the ensemble takes from them.
if [ -n "${TRAIN:-}" ]; then
    printf '\n$ %s\n' "$TRAIN"
    eval "$TRAIN"
else
    distributed=${DIST:-$PWD/distributed}
    mkdir -p "$distributed"
    run sh train.sh "$partition" "$distributed"
fi
# shellcheck disable=SC2086  # COLLECT is several words
run "$python" -m inference.collect --members "$members" --models "$models" ${COLLECT:-}

# Stage 6: score the videos with the ensemble.
if [ -f "$output" ] && [ -z "$(find "$models" "$list" -newer "$output")" ]; then
    printf '\n%s is newer than %s: scored already\n' "$output" "$models"
    exit 0
fi
set -- --videos "$test" --models "$models" --members "$members"
[ -z "$partition" ] || OUTPUT=$output run sh predict.sh "$partition" "$list" 8 predict "$@"
[ -n "$partition" ] || run "$python" -m inference.predict --list "$list" --output "$output" "$@"
