#!/usr/bin/env bash
# Library:  ray 2.60.0
# Seen:     Ray starts its processes with SIGINT blocked, so that Ctrl-C in a terminal ends none of them, and a blocked
#           signal stays blocked through fork and exec. What a task starts with subprocess therefore never sees SIGINT,
#           although the task itself is interrupted by ray.cancel as documented. Ray undoes it for the programs of its
#           job submission only.
# Output:   child of the task: SIGINT blocked, still running 5 s after SIGINT; child of the driver: not blocked, ended
# Matters:  whoever hands an interrupt on, from ray.cancel to a training script that writes its checkpoint at Ctrl-C,
#           waits in vain and then kills it. The script has to unblock the signal by itself.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/pip" install --quiet ray==2.60.0
cd "$place"
export RAY_USAGE_STATS_ENABLED=0
"$place/env/bin/python" - <<'PY'
import signal
import subprocess
import sys
import time

import ray

CHILD = """
import signal, time
print(signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)
time.sleep(60)
"""


def interrupted_child():
    """Returns whether a child has SIGINT blocked, and its exit code some seconds after SIGINT."""
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([sys.executable, "-c", CHILD], **quiet) as child:
        blocked = child.stdout.readline().strip() == "True"
        child.send_signal(signal.SIGINT)
        time.sleep(5)
        code = child.poll()
        child.kill()
    return blocked, code


ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
of_task = ray.get(ray.remote(interrupted_child).remote())
of_driver = interrupted_child()
for whose, (blocked, code) in (("task", of_task), ("driver", of_driver)):
    state = "still running" if code is None else f"ended with {code}"
    print(f"child of the {whose}: SIGINT {'blocked' if blocked else 'not blocked'}, {state} 5 s after SIGINT")
sys.exit(not (of_task == (True, None) and of_driver == (False, -signal.SIGINT)))
PY
