#!/bin/sh
# Stage 6 for a list of videos as a Slurm job array, followed by a job that merges the results:
#
#     sh predict.sh PARTITION LIST [SHARDS] [TASK] [OPTIONS OF inference.predict ...]
#
# LIST is a CSV with a column `filename`. The videos are in test_videos, or in the folder that the option --videos names.
# The array has SHARDS tasks (default 8). Each scores one shard of the videos into submission-<i>-of-<n>.csv. If a task
# is preempted or its node fails, Slurm queues it again and it goes on. If you submit everything again, it goes on too.
# The merging job runs when all tasks have ended. It writes OUTPUT (default submission.csv) and, if EVIDENCE names a
# folder, the pages and the index there. CPUS_PER_TASK (default 8), GPUS_PER_TASK (default 1; 0: none) and SBATCH_ARGS
# (for both jobs) are passed to sbatch. PYTHON chooses the interpreter. Logs go to logs/.
set -eu
[ ! -f "${2:-}" ] || list=$(realpath "$2")
cd "$(dirname "$0")"
. slurm/functions.sh

if [ $# -lt 2 ] || [ "${1#-}" != "$1" ]; then
    echo "usage: sh predict.sh PARTITION LIST [SHARDS] [TASK] [OPTIONS OF inference.predict ...]" >&2
    exit 2
fi
partition=$1 shards=${3:-8} task=${4:-predict} output=${OUTPUT:-submission.csv}
[ -n "${list:-}" ] || { echo "predict.sh: $2 is not a file" >&2; exit 2; }
if [ $# -gt 4 ]; then shift 4; else shift $#; fi
positive "predict.sh: SHARDS" "$shards"
for shard in "${output%.csv}"-*-of-*.jsonl; do
    number=${shard#"${output%.csv}-"} && number=${number%%-of-*}
    case $number in *[!0-9]*) continue ;; esac  # a file of another submission, or no file matches
    case $shard in
        *-of-"$shards".jsonl) rm -f "$shard" "${shard%.jsonl}.csv" ;;  # otherwise a task that fails would leave old results
        *-of-"$shards".partial.jsonl) ;;
        *) echo "predict.sh: $shard belongs to another number of shards: remove it, or choose another OUTPUT" >&2; exit 2 ;;
    esac
done
if [ "${GPUS_PER_TASK:-1}" = 0 ]; then gpus=""; else gpus=--gres=gpu:${GPUS_PER_TASK:-1}; fi
set -- --list "$list" --output "$output" "$@"
if [ -n "${EVIDENCE:-}" ]; then set -- "$@" --evidence "$EVIDENCE"; evidence="--evidence $(quoted "$EVIDENCE")"; else evidence=""; fi

mkdir -p logs
# shellcheck disable=SC2086  # SBATCH_ARGS is several words
array=$(sbatch --parsable --partition="$partition" --job-name="$task" --array="0-$((shards - 1))" --requeue --open-mode=append \
    --ntasks=1 --cpus-per-task="${CPUS_PER_TASK:-8}" --output="logs/$task-%A_%a.out" $gpus ${SBATCH_ARGS:-} \
    --wrap "exec$(quoted "$python" -m inference.predict "$@")")
merge=$(sbatch --parsable --partition="$partition" --job-name="$task-merge" --dependency="afterany:${array%%;*}" --ntasks=1 \
    --output="logs/$task-%j.out" ${SBATCH_ARGS:-} \
    --wrap "exec$(quoted "$python" -m inference.merge --list "$list" --output "$output") $evidence")
echo "submitted array ${array%%;*} of $shards tasks, and ${merge%%;*}, which merges them into $output"
