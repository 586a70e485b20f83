"""python -m side_by_side.process JOB RESULT: runs one job of a peer that is trained from Python, or the floor's."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from side_by_side.peer_job import PeerJob

MODULES = {
    "hf-study": "peers.hf_study",
    "hf-best": "peers.hf_best",
    "adapters": "peers.adapters_hub",
    "lightning": "peers.plain_lightning",
    "floor": "side_by_side.floor",
}


def main() -> None:
    """Runs the job and writes its figures."""
    job, result = PeerJob.read(Path(sys.argv[1])), Path(sys.argv[2])
    figures = importlib.import_module(MODULES[job.peer]).run(job, Path.cwd())
    result.write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
