#!/bin/sh
# A real Slurm on one machine, for tests and for trying out preprocess.sh and train.sh. It has two nodes, n1 and n2, with
# 40 pretended cores and 8 pretended GPUs each, and the partitions debug (default) and urgent (which preempts debug). It
# touches nothing outside its own folder, with one exception: on a machine without any network, Slurm needs an address
# on the loopback device (added only as root; it stays).
#
#     sh slurm/cluster.sh up        start it; print the variable by which sbatch, srun, squeue find it
#     sh slurm/cluster.sh status    show daemons and nodes; exit status 0 when all are up
#     sh slurm/cluster.sh down      cancel its jobs and stop its daemons; the queue and the logs stay
#     sh slurm/cluster.sh purge     do what down does, and remove the folder
#
# The folder is SLURM_LAB (default /tmp/slurm-lab-<user id>). Every user must be able to enter the folders above it.
# SLURM_LAB_PORT (default 16817) is the first of three ports. It runs as root or as any other user; only
# `make slurm-install` needs root.
set -eu

lab=${SLURM_LAB:-/tmp/slurm-lab-$(id -u)}
port=${SLURM_LAB_PORT:-16817}
PATH=$PATH:/usr/sbin:/sbin
export SLURM_CONF=$lab/slurm.conf
case $lab in /*) ;; *) echo "cluster.sh: SLURM_LAB must be absolute, not $lab" >&2; exit 2 ;; esac

configure() {
    mkdir -p "$lab/munge" "$lab/log" "$lab/state" "$lab/spool/n1" "$lab/spool/n2" "$lab/fakegpu"
    chmod 755 "$lab" "$lab/munge"
    for gpu in 0 1 2 3 4 5 6 7; do ln -sf /dev/null "$lab/fakegpu/gpu$gpu"; done  # Slurm refuses regular files
    if [ ! -s "$lab/munge/munge.key" ]; then
        (umask 077 && head -c 128 /dev/urandom > "$lab/munge/munge.key")
    fi
    cat > "$lab/slurm.conf" <<END
ClusterName=lab
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$port
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
# With short-lived credentials a requeued job starts after 10 s instead of 125 s.
AuthInfo=socket=$lab/munge/munge.socket,cred_expire=5
SlurmctldPidFile=$lab/slurmctld.pid
SlurmdPidFile=$lab/slurmd-%n.pid
SlurmctldLogFile=$lab/log/slurmctld.log
SlurmdLogFile=$lab/log/slurmd-%n.log
StateSaveLocation=$lab/state
SlurmdSpoolDir=$lab/spool/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5
JobRequeue=1
KillWait=5
SlurmdTimeout=15
InactiveLimit=30
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobCompType=jobcomp/filetxt
JobCompLoc=$lab/log/jobcomp.log
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=40 RealMemory=4000 Gres=gpu:8 State=UNKNOWN
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=40 RealMemory=4000 Gres=gpu:8 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES PriorityTier=1 MaxTime=INFINITE State=UP GraceTime=10
PartitionName=urgent Nodes=ALL PriorityTier=2 MaxTime=INFINITE State=UP
END
    echo "Name=gpu File=$lab/fakegpu/gpu[0-7]" > "$lab/gres.conf"
    echo "CgroupPlugin=cgroup/v1" > "$lab/cgroup.conf"
}

# Whether the daemon $1 with the pid file $2.pid is alive. Another process may have its pid by now, or it may be a
# zombie; /proc shows both.
alive() {
    pid=$(cat "$lab/$2.pid" 2>/dev/null) && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$1" ] &&
        ! grep -q "^State:[[:space:]]*Z" "/proc/$pid/status" 2>/dev/null
}

daemons="munged:munge/munged slurmctld:slurmctld slurmd:slurmd-n1 slurmd:slurmd-n2"

stop() {
    alive "$1" "$2" || return 0
    kill "$(cat "$lab/$2.pid")"
    for _ in $(seq 50); do alive "$1" "$2" || return 0; sleep 0.1; done
    kill -KILL "$(cat "$lab/$2.pid")"
}

up() {
    for tool in munged slurmctld slurmd sinfo; do
        command -v $tool > /dev/null || { echo "cluster.sh: $tool is missing: make slurm-install" >&2; exit 3; }
    done
    configure
    # Slurm does not resolve addresses on a machine that has only the loopback network.
    if ! ip -brief address 2>/dev/null | grep -v "^lo " | grep -q "UP.*[0-9]" && [ "$(id -u)" = 0 ]; then
        ip address add 192.0.2.1/32 dev lo 2> /dev/null || true  # it is there already
    fi
    munge=$lab/munge
    alive munged munge/munged || munged --key-file="$munge/munge.key" --socket="$munge/munge.socket" --pid-file="$munge/munged.pid" \
        --log-file="$munge/munged.log" --seed-file="$munge/munged.seed" --origin=127.0.0.1
    alive slurmctld slurmctld || slurmctld
    for node in n1 n2; do alive slurmd slurmd-$node || slurmd -N $node; done
    for _ in $(seq 150); do
        if [ "$(sinfo --noheader --Node --partition=debug --format=%T 2> /dev/null | grep -c -E '^(idle|mixed|allocated)$')" = 2 ]; then
            echo "Slurm is up. In each shell that uses it: export SLURM_CONF=$SLURM_CONF"
            return
        fi
        sleep 0.2
    done
    echo "cluster.sh: the nodes did not come up; the logs are in $lab/log" >&2
    exit 1
}

down() {
    if alive slurmctld slurmctld; then
        for job in $(squeue --noheader --format=%A 2> /dev/null | sort -u); do scancel --quiet "$job" || true; done
        for _ in $(seq 100); do [ -z "$(squeue --noheader 2> /dev/null)" ] && break; sleep 0.1; done
    fi
    stop slurmd slurmd-n1
    stop slurmd slurmd-n2
    stop slurmctld slurmctld
    stop munged munge/munged
}

status() {
    failed=0
    for daemon in $daemons; do
        if alive "${daemon%%:*}" "${daemon#*:}"; then state=up; else state=down failed=1; fi
        printf '%-12s%s\n' "$(basename "${daemon#*:}")" $state
    done
    [ $failed = 1 ] || sinfo
    return $failed
}

case ${1:-} in
    up | down | status) "$1" ;;
    purge)
        [ -e "$lab" ] || exit 0
        [ -e "$lab/slurm.conf" ] || { echo "cluster.sh: $lab was not made by this script" >&2; exit 2; }
        down && rm -rf "$lab" ;;
    *) echo "usage: sh slurm/cluster.sh up|status|down|purge" >&2; exit 2 ;;
esac
