#!/usr/bin/env bash
# A SLURM of one node on this machine, for the tests of `compare --executor slurm`: Debian's slurm-wlm and munge on
# loopback, as root, without cgroups and accounting. Beside a SLURM that is there it has ports, keys and files of its own.
#   .ci/slurm.sh install       installs the packages, and leaves none of their services running
#   .ci/slurm.sh start DIR     starts it, and writes DIR/slurm.conf: what reads SLURM_CONF uses it
#   .ci/slurm.sh stop DIR      stops what it started, and the jobs
set -euo pipefail

die() {
    echo ".ci/slurm.sh: $1" >&2
    exit 1
}

install() {
    command -v apt-get >/dev/null || die "there is no apt-get here: it is for Debian and its kin"
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
    local dir="$1" host cores memory ports until
    command -v slurmctld >/dev/null || die "SLURM is not installed: .ci/slurm.sh install"
    if grep -q slurmctld "/proc/$(cat "$dir/slurmctld.pid" 2>/dev/null)/comm" 2>/dev/null; then
        die "SLURM runs in $dir already: use it, or end it with .ci/slurm.sh stop $dir"
    fi
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
        --log-file="$dir/munge/log" --seed-file="$dir/munge/seed" --num-threads=2 ||
        { stop "$dir"; die "munged did not start: see $dir/munge/log"; }
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
    # Nothing here uses cgroups. SLURM 22.05 still looks for the newer kind, which a container may lack, and gives up.
    echo "CgroupPlugin=cgroup/v1" >"$dir/cgroup.conf"
    export SLURM_CONF="$dir/slurm.conf"
    rm -f "$dir/slurmctld.log" "$dir/slurmd.log"
    slurmctld -c -f "$SLURM_CONF" && slurmd -c -f "$SLURM_CONF" || true
    until=$((SECONDS + 60))
    while [ $SECONDS -lt $until ]; do
        if [ "$(timeout 5 sinfo -h -o %t -p usual 2>/dev/null)" = idle ]; then
            return 0
        fi
        # It asks the system only for addresses of a kind that the machine has, and loopback does not count.
        if grep -q "getaddrinfo() failed" "$dir/slurmctld.log" 2>/dev/null; then
            stop "$dir"
            die "SLURM wants an address besides loopback: connect a network, or ip addr add 192.0.2.1/32 dev lo"
        fi
        if grep -q -E "initialization failed|fatal:" "$dir/slurmd.log" "$dir/slurmctld.log" 2>/dev/null; then
            break
        fi
        sleep 0.2
    done
    stop "$dir"
    die "no node is idle: see $dir/slurmctld.log and $dir/slurmd.log"
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

if [ "$(id -u)" != 0 ] && [[ "${1:-}" =~ ^(install|start|stop)$ ]]; then
    die "$1 wants to be root: sudo .ci/slurm.sh $*"
fi
case "${1:-}" in
    install) install ;;
    start) start "${2:?where to?}" ;;
    stop) stop "${2:?which?}" ;;
    *) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
