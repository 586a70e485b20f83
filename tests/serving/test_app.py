"""The HTTP interface of a model of pairs, without a socket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

pytest.importorskip("starlette")

from peft_lightning.serving.app import RequestLimits, make_app
from peft_lightning.serving.batching import BatchLimits
from peft_lightning.serving.folders import load_answerer
from tests.serving.test_answerer import CPU, exported

JSON = "application/json"


def asked(app: Any, requests: list[tuple[str, str, bytes, str]]) -> list[tuple[int, str]]:
    """What the application answers to requests (method, path, body, content type), one after the other."""

    async def one(method: str, path: str, body: bytes, kind: str) -> tuple[int, str]:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        headers = [(b"content-type", kind.encode())]
        scope = {"type": "http", "method": method, "path": path, "headers": headers, "query_string": b""}
        await app(scope, receive, send)
        return sent[0]["status"], b"".join(part.get("body", b"") for part in sent[1:]).decode()

    async def all_of_them() -> list[tuple[int, str]]:
        async with app.router.lifespan_context(app):
            return [await one(*request) for request in requests]

    return asyncio.run(all_of_them())


def test_a_model_of_pairs_answers_pairs_to_programs_and_on_its_page(tmp_path: Path) -> None:
    exported(tmp_path, adapter=False)
    (tmp_path / "export.json").write_text(json.dumps({"in_pairs": True, "truncation": "head"}))
    answerer = load_answerer(tmp_path, "best", CPU)
    app = make_app(answerer, RequestLimits(8, 10_000), BatchLimits(8192, 128, 1024, 0.001))
    pair = {"text": "a joy", "text_pair": "a bore"}
    reverse = {"text": "a bore", "text_pair": "a joy"}
    found = asked(
        app,
        [
            ("POST", "/predict", json.dumps(pair).encode(), JSON),
            ("POST", "/predict", json.dumps({"texts": [reverse, pair]}).encode(), JSON),
            ("POST", "/predict", b'{"text": "a joy"}', JSON),
            ("POST", "/", urlencode(pair).encode(), "application/x-www-form-urlencoded"),
            ("POST", "/", urlencode({"text": "a joy", "text_pair": " "}).encode(), "application/x-www-form-urlencoded"),
            ("GET", "/health", b"", ""),
        ],
    )
    assert [status for status, _ in found] == [200, 200, 422, 200, 422, 200]
    single, many = json.loads(found[0][1]), json.loads(found[1][1])
    assert many[1]["probabilities"] == pytest.approx(single["probabilities"], abs=2e-6)
    assert many[0]["probabilities"] != pytest.approx(single["probabilities"], abs=1e-4)
    assert "no pair of texts" in found[2][1]
    assert f"<h2>{single['label']}</h2>" in found[3][1]
    assert ">\na bore</textarea>" in found[3][1]
    assert "the text in the second field is blank" in found[4][1]
    assert json.loads(found[5][1])["in_pairs"] is True
