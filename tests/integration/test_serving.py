"""A real server process, asked by many clients at once.

`REQUESTS=10000 pytest -s -m slow tests/integration/test_serving.py` asks more, and says how long they waited.
"""

import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.module.classifier import TextClassifier
from tests.integration.offline_run import SOURCES, only_run

pytestmark = pytest.mark.slow
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

CLIENTS = 32
REQUESTS = int(os.environ.get("REQUESTS", "2000"))
PATIENCE_S = 120.0
TEXTS = [f"{word} film, said viewer {n}" + " indeed" * (n % 5) for n in range(20) for word in ("a warm", "a dull")]
# A body that is refused, its content type, and with which status.
BAD = (
    (b"nope", "application/json", 400),
    (b'{"text": "\\ud83d"}', "application/json", 422),
    (b'{"texts": []}', "application/json", 422),
    (b'{"text": "a"}', "text/plain", 415),
    (b'{"text": "' + b"a" * 5000 + b'"}', "application/json", 413),
)


@contextmanager
def served(folder: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server, and its port."""
    words = [sys.executable, "-m", "peft_lightning", "serve", str(folder), "--port", "0", *more]
    path = os.pathsep.join([str(SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert line.startswith(f"serving {folder} at http://127.0.0.1:"), server.communicate()[1]
            yield server, int(line.rsplit(":", 1)[1])
        finally:
            server.kill()


def post(connection: http.client.HTTPConnection, body: bytes, kind: str = "application/json") -> tuple[int, Any]:
    connection.request("POST", "/predict", body, {"content-type": kind})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def as_body(asked: str | list[str]) -> bytes:
    return json.dumps({"text": asked} if isinstance(asked, str) else {"texts": asked}).encode()


def near(left: dict[str, Any], right: dict[str, Any]) -> bool:
    close = left["probabilities"] == pytest.approx(right["probabilities"], abs=2e-6)
    return bool(left["label"] == right["label"] and close)


@pytest.fixture
def trained(tiny_fit: list[str], trained_once: Callable[..., None]) -> Path:
    """The directory of a finished run."""
    trained_once("--model.learning_rate", "1e-2")
    return only_run(Path())


def test_requests_of_many_clients_with_bad_ones_among_them_all_get_their_answer(trained: Path) -> None:
    expected = dict(zip(TEXTS, TextClassifier.load_trained(trained).answer(TEXTS), strict=True))
    wrong: list[object] = []
    waits: list[float] = []
    counted: dict[int, int] = {}
    lock = threading.Lock()

    def client(number: int, port: int) -> None:
        chance = random.Random(number)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        for turn in range(number, REQUESTS, CLIENTS):
            began = time.perf_counter()
            if turn % 10 == 3:
                body, kind, due = BAD[turn // 10 % len(BAD)]
                status, content = post(connection, body, kind)
                right = status == due and "error" in content
                if status == 413:
                    connection.close()
            else:
                asked: str | list[str] = chance.choice(TEXTS) if turn % 10 else chance.sample(TEXTS, 3)
                status, content = post(connection, as_body(asked))
                pairs = [(asked, content)] if isinstance(asked, str) else list(zip(asked, content, strict=True))
                right = status == 200 and all(near(answer, expected[text]) for text, answer in pairs)
            with lock:
                waits.append(time.perf_counter() - began)
                counted[status] = counted.get(status, 0) + 1
                if not right:
                    wrong.append((turn, status, content))
        connection.close()

    with served(trained, "--max_bytes", "4000") as (server, port):
        threads = [threading.Thread(target=client, args=(number, port)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.send_signal(signal.SIGINT)
        _, err = server.communicate(timeout=PATIENCE_S)
    hundredths = statistics.quantiles(waits, n=100)
    print(
        f"{len(waits)} requests of {CLIENTS} clients: p50 {hundredths[49]:.3f} s, p99 {hundredths[98]:.3f} s",
        counted,
        err,
    )
    assert not wrong[:3]
    assert sum(counted.values()) == REQUESTS
    assert counted[200] == REQUESTS * 9 // 10
    assert server.returncode == 130
    assert err.split("\n")[1:2] == ["peft_lightning: stopped by SIGINT"]
    assert "Traceback" not in err


def test_a_signal_ends_it_when_what_was_asked_is_answered(trained: Path) -> None:
    with served(trained) as (server, port):
        found: list[int] = []

        def ask() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
            found.append(post(connection, as_body([text * 40 for text in TEXTS] * 5))[0])

        asking = threading.Thread(target=ask)
        asking.start()
        about = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        while asking.is_alive():
            about.request("GET", "/health")
            health = json.loads(about.getresponse().read())
            if health["waiting"]:
                break
        assert (health["method"], health["task"]) == ("lora", "single_label_classification")
        server.send_signal(signal.SIGTERM)
        asking.join()
        _, err = server.communicate(timeout=PATIENCE_S)
    assert found == [200]
    assert server.returncode == 143, err
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_full_queue_says_so_and_the_page_escapes_what_is_typed(trained: Path) -> None:
    with served(trained, "--max_waiting", "4") as (server, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        connection.request("POST", "/predict", as_body(TEXTS[:5]), {"content-type": "application/json"})
        response = connection.getresponse()
        assert (response.status, response.headers["retry-after"]) == (503, "1")
        response.read()
        assert post(connection, as_body(TEXTS[:4]))[0] == 200
        connection.request("POST", "/", b"text=%3Cscript%3Ea+joy%22", {"content-type": "x"})
        response = connection.getresponse()
        page = response.read().decode()
        assert response.status == 200
        assert "&lt;script&gt;a joy" in page
        assert "<script" not in page
        assert "default-src 'none'" in response.headers["content-security-policy"]
        words = [sys.executable, "-m", "peft_lightning", "serve", str(trained), "--port", str(port)]
        begun = time.monotonic()
        second = subprocess.run(words, capture_output=True, text=True, check=False)
        assert second.returncode == 2
        assert second.stderr.count("\n") == 1
        assert f"port {port} is taken: choose another with --port" in second.stderr
        assert time.monotonic() - begun < PATIENCE_S
        server.kill()
