#!/bin/sh
# Stages 1-3 of all videos as a Slurm job array:
#
#     sh preprocess.sh PARTITION [SHARDS] [TASK] [OPTIONS OF preprocess.py ...]
#
# The array has SHARDS tasks (default 100), one for each shard of the videos. If a task is preempted or its node fails,
# Slurm queues it again and it goes on. CPUS_PER_TASK (default 5) and SBATCH_ARGS (such as "--time=24:00:00 --mem=8G")
# are passed to sbatch. PYTHON chooses the interpreter. Logs go to logs/. To see the result: python preprocess.py --status
set -eu
cd "$(dirname "$0")"
. slurm/functions.sh

if [ $# -lt 1 ] || [ "${1#-}" != "$1" ]; then
    echo "usage: sh preprocess.sh PARTITION [SHARDS] [TASK] [OPTIONS OF preprocess.py ...]" >&2
    exit 2
fi
partition=$1 shards=${2:-100} task=${3:-preprocess}
if [ $# -gt 3 ]; then shift 3; else shift $#; fi
positive "preprocess.sh: SHARDS" "$shards"

mkdir -p logs
# shellcheck disable=SC2086  # SBATCH_ARGS is several words
exec sbatch --partition="$partition" --job-name="$task" --array="0-$((shards - 1))" --requeue --open-mode=append \
    --ntasks=1 --cpus-per-task="${CPUS_PER_TASK:-5}" --output="logs/$task-%A_%a.out" ${SBATCH_ARGS:-} \
    --wrap "exec$(quoted "$python" preprocess.py "$@")"
