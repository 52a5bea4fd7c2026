#!/bin/sh
# Run one training with srun. image_based/train.sh, video_based/train.sh and both recover.sh call this. What it prints
# also goes to logs/log-<time>.out.
#
#     sh training/launch.sh MODULE NTASKS CONFIG PARTITION DIST_DIR [TASK] [OPTIONS OF MODULE ...]
#
# The default numbers are the reference's. Environment variables override them: NTASKS, GPUS_PER_NODE (8; 0 asks for
# none), NTASKS_PER_NODE (8), CPUS_PER_TASK (5), OMP_NUM_THREADS (CPUS_PER_TASK). SRUN_ARGS and TRAIN_ARGS hold further
# options for srun and for the training. PYTHON chooses the interpreter.
#
# The exit status is that of the training, as srun returns it. 2: an option, config, list or checkpoint is wrong, and
# starting again will not help. 75: the training was told to stop and saved; recover it to go on.
set -eu
if [ $# -lt 5 ]; then
    echo "usage: sh ${LAUNCHER:-training/launch.sh MODULE NTASKS} CONFIG PARTITION DIST_DIR [TASK] [OPTIONS OF THE TRAINING ...]" >&2
    exit 2
fi
. slurm/functions.sh
module=$1 ntasks=${NTASKS:-$2} config=$3 partition=$4 directory=$5 task=${6:-train}
if [ $# -gt 6 ]; then shift 6; else shift $#; fi
case $directory in
    /*) [ -d "$directory" ] && [ -w "$directory" ] || { echo "launch.sh: $directory is not a writable directory" >&2; exit 2; } ;;
    *) echo "launch.sh: the distributed directory must be absolute, not $directory" >&2; exit 2 ;;
esac
[ -f "$config" ] || { echo "launch.sh: $config is missing" >&2; exit 2; }

now=$(date +%Y%m%d_%H%M%S)
log=logs/log-$now.out
gres=--gres=gpu:${GPUS_PER_NODE:-8}
[ "${GPUS_PER_NODE:-8}" != 0 ] || gres=
per_node=${NTASKS_PER_NODE:-8} nodes=
# In an allocation of more nodes srun would spread the tasks over all of them.
[ -z "${SLURM_JOB_ID:-}" ] || nodes=--nodes=$(((ntasks + per_node - 1) / per_node))
case " $* ${TRAIN_ARGS:-} " in
    *" --evaluate"* | *" --show-batch"*) name= ;;
    *" --recover "*)
        state=$(training_state "$config" "$@") || exit 2
        case $state in
            "finished "*) echo "launch.sh: $config is finished: ${state#* }"; exit 0 ;;
            "recover "*) set -- "$@" --datetime "$(basename "${state#* }")" ;;
            *) echo "launch.sh: unexpected state of $config: $state" >&2; exit 2 ;;
        esac
        name= ;;
    *) name="--datetime $now" ;;
esac
mkdir -p logs
# Otherwise every rank starts as many threads as the node has cores.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-${CPUS_PER_TASK:-5}}"
# Otherwise every rank warns that no parameter is unused, which is intended.
export TORCH_CPP_LOG_LEVEL="${TORCH_CPP_LOG_LEVEL:-ERROR}"

status=$(mktemp)
# shellcheck disable=SC2086  # SRUN_ARGS, TRAIN_ARGS, gres, nodes and name are several words or none
{
    srun --mpi=pmi2 -p "$partition" -n"$ntasks" $gres $nodes --ntasks-per-node="$per_node" \
        --cpus-per-task="${CPUS_PER_TASK:-5}" --job-name="$task" --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
        "$python" -u -m "$module" --config "$config" --distributed_path "$directory" $name "$@" ${TRAIN_ARGS:-} &&
        echo 0 > "$status" || echo $? > "$status"
} 2>&1 | tee "$log"

code=$(cat "$status")
rm -f "$status"
exit "$code"
