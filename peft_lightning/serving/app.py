"""The HTTP interface: ``/predict``, ``/health`` and a page to type a text into."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from peft_lightning import __version__
from peft_lightning.errors import UserError
from peft_lightning.serving.answerer import Answerer, Tokens
from peft_lightning.serving.batching import Answers, Batcher, BatchLimits, QueueFull
from peft_lightning.serving.page import PAGE_HEADERS, Page
from peft_lightning.serving.requests import Asked, BadRequest, checked, checked_pair, read_request


@dataclass(frozen=True)
class RequestLimits:
    """What a request may have.

    Args:
        texts: Number of texts.
        size: Size of the body, in bytes.
    """

    texts: int
    size: int


class _Json(JSONResponse):
    def render(self, content: Any) -> bytes:
        return (json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n").encode()


def make_app(answerer: Answerer, limits: RequestLimits, batching: BatchLimits) -> Starlette:
    """Makes the application.

    Args:
        answerer: The model.
        limits: What a request may have.
        batching: How texts share batches.
    """
    return _Server(answerer, limits, batching).app()


class _Server:
    def __init__(self, answerer: Answerer, limits: RequestLimits, batching: BatchLimits) -> None:
        self._answerer = answerer
        self._limits = limits
        self._batching = batching
        self._tokenising = ThreadPoolExecutor(1, "tokens")

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/predict", self._predict, methods=["POST"]),
                Route("/health", self._health, methods=["GET"]),
                Route("/", self._page, methods=["GET", "POST"]),
            ],
            exception_handlers={
                BadRequest: self._refused,
                QueueFull: self._full,
                404: self._no_such,
                405: self._no_such,
                Exception: self._failed,
            },
            lifespan=self._running,
        )

    @asynccontextmanager
    async def _running(self, app: Starlette) -> AsyncIterator[None]:
        self._batcher: Batcher[Tokens] = Batcher(self._answerer.answer, self._batching)
        self._batcher.start()
        try:
            yield
        finally:
            await self._batcher.stop()
            self._tokenising.shutdown()

    async def _predict(self, request: Request) -> Response:
        body = await self._body(request)
        kind = request.headers.get("content-type", "")
        asked = read_request(kind, body, self._limits.texts, self._answerer.in_pairs)
        answers = await self._answers(asked)
        return _Json(answers[0] if asked.single else answers)

    async def _answers(self, asked: Asked) -> Answers:
        loop = asyncio.get_running_loop()
        try:
            ids = await loop.run_in_executor(self._tokenising, self._answerer.tokenise, asked.texts)
        except UserError as error:
            raise BadRequest(422, str(error)) from error
        return await self._batcher.answers(ids)

    async def _body(self, request: Request) -> bytes:
        """Reads a body, and no more of it than may be."""
        parts: list[bytes] = []
        size = 0
        try:
            async for part in request.stream():
                size += len(part)
                if size > self._limits.size:
                    raise BadRequest(413, f"the body is larger than {self._limits.size:,} bytes: send fewer texts")
                parts.append(part)
        except ClientDisconnect as error:
            raise BadRequest(400, "the body is not whole") from error
        return b"".join(parts)

    async def _health(self, request: Request) -> Response:
        task = self._answerer.task
        about = {
            "status": "ok",
            "version": __version__,
            **self._answerer.description,
            "task": task.problem_type,
            "labels": list(task.label_names),
            "calibration": task.calibration_in_words(),
            "in_pairs": self._answerer.in_pairs,
            "max_length": self._answerer.max_length,
            "device": str(self._answerer.device),
            "waiting": self._batcher.waiting,
        }
        return _Json(about)

    async def _page(self, request: Request) -> Response:
        about, status = self._answerer.description, 200
        page = Page(
            title=about["model"],
            details=f"{about['method']}, {self._answerer.task.problem_type}, peft-lightning {__version__}",
            pairs=self._answerer.in_pairs is True,
        )
        if request.method == "POST":
            try:
                fields = parse_qs((await self._body(request)).decode("utf-8", "replace"), keep_blank_values=True)
                text, second = (fields.get(name, [""])[0] for name in ("text", "text_pair"))
                page = replace(page, text=text, second=second)
                asked = checked_pair(text, second) if page.pairs else checked([text], {0: "the field"})
                (line,) = await self._answers(Asked(asked, single=True))
                page = replace(page, answer=line)
            except BadRequest as error:
                page, status = replace(page, mistake=str(error)), error.status
            except QueueFull:
                page, status = replace(page, mistake="too many texts are waiting: try again in a moment"), 503
        return HTMLResponse(page.render(), status, PAGE_HEADERS)

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, BadRequest)
        # What is left of a body that is too large is not read: the connection cannot serve another request.
        headers = {"connection": "close"} if error.status == 413 else None
        return _Json({"error": str(error)}, error.status, headers)

    async def _full(self, request: Request, error: Exception) -> Response:
        return _Json({"error": "too many texts are waiting: try again"}, 503, {"retry-after": "1"})

    async def _no_such(self, request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 404)
        here = f"there is no {request.method} {request.url.path} here"
        return _Json({"error": f"{here}: POST /predict, GET /health"}, status, getattr(error, "headers", None))

    async def _failed(self, request: Request, error: Exception) -> Response:
        traceback.print_exception(error)
        return _Json({"error": "the model could not answer; the server's terminal says why"}, 500)
