#!/bin/sh
# Stage 6 of a list of videos as a Slurm job array, and a job after it that merges the parts:
#
#     sh predict.sh PARTITION LIST [SHARDS] [TASK] [OPTIONS OF inference.predict ...]
#
# LIST is a CSV with a column `filename`, looked up in test_videos or the option --videos. SHARDS (default 8) array tasks score their
# shares into submission-<i>-of-<n>.csv; a task that is preempted or whose node fails is queued again and goes on, and so does the
# whole when it is submitted again. The merging job runs when all have ended and writes OUTPUT (default submission.csv) and, if
# EVIDENCE names a folder, its pages and index. CPUS_PER_TASK (default 8), GPUS_PER_TASK (default 1; 0: none) and SBATCH_ARGS (both
# jobs) reach sbatch; PYTHON chooses the interpreter. Logs go to logs/.
set -eu
[ ! -f "${2:-}" ] || list=$(realpath "$2")
cd "$(dirname "$0")"
. slurm/words.sh

if [ $# -lt 2 ]; then
    echo "usage: sh predict.sh PARTITION LIST [SHARDS] [TASK] [OPTIONS OF inference.predict ...]" >&2
    exit 2
fi
partition=$1 shards=${3:-8} task=${4:-predict} output=${OUTPUT:-submission.csv}
[ -n "${list:-}" ] || { echo "predict.sh: $2 is no file" >&2; exit 2; }
if [ $# -gt 4 ]; then shift 4; else shift $#; fi
positive "predict.sh: SHARDS" "$shards"
for part in "${output%.*}"-*-of-*.jsonl; do
    number=${part#"${output%.*}-"} && number=${number%%-of-*}
    case $number in *[!0-9]*) continue ;; esac  # the part of another submission, or none
    case $part in
        *-of-"$shards".jsonl) rm -f "$part" "${part%.jsonl}.csv" ;;  # a task that fails must not leave an old one
        *-of-"$shards".partial.jsonl) ;;
        *) echo "predict.sh: $part is of another number of shards: remove it, or choose another OUTPUT" >&2; exit 2 ;;
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
