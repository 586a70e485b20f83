"""Texts per second and waiting times of `serve`, of exports too, and of transformers' pipeline behind the same server.

Clients ask for one text after the other, each a request, all at once. The pipeline is called for each text, as most
servers of one do, or for up to `--batch_size` of those that wait.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peft_lightning.runs.files import write_atomically
from side_by_side.mixed_texts import mixed_texts
from side_by_side.results import describe_machine

_BENCHMARKS = Path(__file__).resolve().parent


@contextmanager
def started(command: Sequence[str]) -> Iterator[int]:
    """Starts a server, and yields its port once it serves.

    Raises:
        RuntimeError: If it does not.
    """
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(_BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")])
    }
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if not line.startswith("serving "):
                raise RuntimeError(f"{command} does not serve: {line}")
            yield int(line.rsplit(":", 1)[1])
        finally:
            server.send_signal(signal.SIGTERM)


def asked_by_clients(port: int, texts: Sequence[str], clients: int) -> dict[str, float]:
    """Asks for texts, and returns `texts_per_s`, `p50_ms` and `p99_ms`.

    Args:
        port: The server's port.
        texts: The texts, dealt out to the clients.
        clients: Number of clients that ask at the same time.

    Raises:
        RuntimeError: If a request has no answer.
    """
    waits: list[float] = []
    failed: list[object] = []

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        for text in texts[number::clients]:
            began = time.perf_counter()
            connection.request("POST", "/predict", json.dumps({"text": text}), {"content-type": "application/json"})
            response = connection.getresponse()
            content = json.loads(response.read())
            waits.append(time.perf_counter() - began)
            if response.status != 200 or "label" not in content:
                failed.append(content)
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    if failed or len(waits) != len(texts):
        raise RuntimeError(f"{len(texts) - len(waits) + len(failed)} requests without an answer: {failed[:1]}")
    hundredths = statistics.quantiles(waits, n=100)
    return {"texts_per_s": len(texts) / took, "p50_ms": 1000 * hundredths[49], "p99_ms": 1000 * hundredths[98]}


def as_markdown(records: Mapping[str, Mapping[str, float]]) -> str:
    """Writes the figures of each server, and how many times as many texts a second ours takes."""
    lines = ["| server | texts/s | p50, ms | p99, ms | ours is × as fast |", "| --- | ---: | ---: | ---: | ---: |"]
    for server, figures in records.items():
        times = records["ours"]["texts_per_s"] / figures["texts_per_s"]
        cells = [server, *(format(value, spec) for value, spec in _shown(figures)), format(times, ".1f")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(figures: Mapping[str, float]) -> list[tuple[float, str]]:
    return [(figures["texts_per_s"], ".1f"), (figures["p50_ms"], ".0f"), (figures["p99_ms"], ".0f")]


def main() -> int:
    """Measures, and writes `serving.md` and `serving.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a run's directory")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--exports", type=Path, nargs="*", default=[], help="exports of it to serve as well")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=32, help="of the batched pipeline")
    asked = parser.parse_args()
    peer = [sys.executable, str(_BENCHMARKS / "peers/hf_pipeline.py"), str(asked.run), "--batch_size"]
    servers = {
        name: [sys.executable, "-m", "peft_lightning", "serve", str(folder), "--port", "0", "--device", "cpu"]
        for name, folder in {"ours": asked.run, **{f"ours, {path.name}": path for path in asked.exports}}.items()
    }
    servers |= {
        "pipeline, a text at a time": [*peer, "1"],
        f"pipeline, up to {asked.batch_size} at a time": [*peer, str(asked.batch_size)],
    }
    texts = mixed_texts(asked.requests)
    records: dict[str, dict[str, Any]] = {}
    for name, command in servers.items():
        with started(command) as port:
            asked_by_clients(port, texts[: 2 * asked.clients], asked.clients)  # warm
            records[name] = asked_by_clients(port, texts, asked.clients)
        print(name, json.dumps(records[name]), flush=True)
    table = as_markdown(records)
    machine = describe_machine()
    asked.out.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine, "clients": asked.clients, "requests": asked.requests, "records": records}
    write_atomically(asked.out / "serving.json", (json.dumps(content, indent=1) + "\n").encode())
    write_atomically(asked.out / "serving.md", f"{table}\n\n{json.dumps(machine)}\n".encode())
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
