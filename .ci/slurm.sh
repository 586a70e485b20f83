#!/usr/bin/env bash
# A SLURM of one node on this machine, for the tests of `compare --executor slurm`: Debian's slurm-wlm and munge on
# loopback, as root, without cgroups and accounting. Beside a SLURM that is there it has ports, keys and files of its own.
#   .ci/slurm.sh install       installs the packages, and leaves none of their services running
#   .ci/slurm.sh start DIR     starts it, and writes DIR/slurm.conf: what reads SLURM_CONF uses it
#   .ci/slurm.sh stop DIR      stops what it started, and the jobs
set -euo pipefail

install() {
    export DEBIAN_FRONTEND=noninteractive
    # Their own services would start with a configuration that is not there.
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
        chmod 755 /usr/sbin/policy-rc.d
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends slurm-wlm munge
}

start() {
    local dir="$1" host cores memory ports
    host="$(hostname -s)"
    # --all: else OMP_NUM_THREADS counts.
    cores="$(nproc --all)"
    # Of its own, since tests that share the machine start one each.
    read -ra ports < <(python3 -c 'import socket
taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(server.getsockname()[1] for server in taken))')
    memory="$(awk '/MemTotal/ { print int($2 / 1024) }' /proc/meminfo)"
    mkdir -p "$dir/state" "$dir/spool" "$dir/munge"
    dir="$(cd "$dir" && pwd)"
    chmod 755 "$dir" "$dir/munge"
    dd if=/dev/urandom of="$dir/munge/key" bs=1 count=1024 2>/dev/null
    chmod 400 "$dir/munge/key"
    munged --force --socket="$dir/munge/socket" --key-file="$dir/munge/key" --pid-file="$dir/munge/pid" \
        --log-file="$dir/munge/log" --seed-file="$dir/munge/seed" --num-threads=2
    # Partition `urgent` pre-empts `usual`.
    cat >"$dir/slurm.conf" <<EOF
ClusterName=tests
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmdPort=${ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
KillWait=5
MinJobAge=300
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cores RealMemory=$memory State=UNKNOWN
PartitionName=usual Nodes=$host Default=YES MaxTime=INFINITE PriorityTier=1 State=UP
PartitionName=urgent Nodes=$host MaxTime=INFINITE PriorityTier=10 State=UP
EOF
    export SLURM_CONF="$dir/slurm.conf"
    slurmctld -c -f "$SLURM_CONF"
    slurmd -c -f "$SLURM_CONF"
    for _ in $(seq 100); do
        if [ "$(sinfo -h -o %t -p usual 2>/dev/null)" = idle ]; then
            return 0
        fi
        sleep 0.2
    done
    echo ".ci/slurm.sh: no node is idle: see $dir/slurmctld.log and $dir/slurmd.log" >&2
    stop "$dir"
    exit 1
}

stop() {
    local dir="$1" name pid
    if [ -e "$dir/slurm.conf" ]; then
        SLURM_CONF="$dir/slurm.conf" timeout 10 scancel --user="$(id -un)" 2>/dev/null || true
    fi
    for name in slurmd.pid slurmctld.pid munge/pid; do
        pid="$(cat "$dir/$name" 2>/dev/null || true)"
        if [ -n "$pid" ]; then
            kill "$pid" 2>/dev/null || true
            for _ in $(seq 50); do
                kill -0 "$pid" 2>/dev/null || break
                sleep 0.1
            done
            kill -9 "$pid" 2>/dev/null || true
        fi
    done
}

case "${1:-}" in
    install) install ;;
    start) start "${2:?where to?}" ;;
    stop) stop "${2:?which?}" ;;
    *) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
