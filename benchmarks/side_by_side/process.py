"""python -m side_by_side.process JOB RESULT: runs one job of a peer that is trained from Python, or the floor's.

Where a launcher has started several of it, each is one rank of the job and writes figures of its own.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

from side_by_side.peer_job import PeerJob
from side_by_side.ranks import result_of

MODULES = {
    "hf-study": "peers.hf_study",
    "hf-best": "peers.hf_best",
    "hf-fsdp2": "peers.hf_best",  # accelerate's environment says the rest
    "hf-checkpointed": "peers.hf_checkpointed",
    "adapters": "peers.adapters_hub",
    "lightning": "peers.plain_lightning",
    "floor": "side_by_side.floor",
}


def main() -> None:
    """Runs the job and writes its figures."""
    job, result = PeerJob.read(Path(sys.argv[1])), Path(sys.argv[2])
    figures = importlib.import_module(MODULES[job.peer]).run(job, Path.cwd())
    result_of(result, int(os.environ.get("RANK", 0))).write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
