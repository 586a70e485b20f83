"""Dynamic batching: texts of several requests are computed together, those of similar length in one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Answers = list[dict[str, Any]]
Item = TypeVar("Item")
# A tokenised text, whose length is its number of tokens.
Text = TypeVar("Text", bound=Sized)


class QueueFull(Exception):
    """More texts wait than may."""


@dataclass(frozen=True)
class BatchLimits:
    """How texts share batches.

    Args:
        tokens: Tokens in a batch, padding included; a longer text has a batch of its own.
        padding: Tokens of padding in a batch that cost no more than a batch of its own would.
        waiting: Texts that may wait.
        wait_s: How long the first text waits for others while nothing is computed, in seconds.
    """

    tokens: int
    padding: int
    waiting: int
    wait_s: float


@dataclass(eq=False)
class _Waiting(Generic[Text]):
    text: Text
    answered: asyncio.Future[dict[str, Any]]


class Batcher(Generic[Text]):
    """Collects texts while others are computed, and hands them in batches to one thread.

    Args:
        answer: Answers tokenised texts in one batch.
        limits: How texts share batches.
    """

    def __init__(self, answer: Callable[[Sequence[Text]], Answers], limits: BatchLimits) -> None:
        self._answer = answer
        self._limits = limits
        self._queue: list[_Waiting[Text]] = []
        self._computing = 0
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "answers")
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Number of texts that wait or are being computed."""
        return len(self._queue) + self._computing

    def start(self) -> None:
        """Begins to compute, in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Ends; what waits has been answered, or nobody waits for it."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown()

    async def answers(self, texts: Sequence[Text]) -> Answers:
        """Answers texts, in their order.

        Args:
            texts: The tokenised texts.

        Raises:
            QueueFull: Too many texts wait.
        """
        if self.waiting + len(texts) > self._limits.waiting:
            raise QueueFull
        loop = asyncio.get_running_loop()
        items = [_Waiting(text, loop.create_future()) for text in texts]
        self._queue += items
        self._arrived.set()
        try:
            return list(await asyncio.gather(*(item.answered for item in items)))
        finally:
            # Those whose request has ended need no answer.
            for item in items:
                item.answered.cancel()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            # While a batch is computed others arrive by themselves: only an idle model waits for company.
            if len(self._queue) == 1:
                await asyncio.sleep(self._limits.wait_s)
            self._arrived.clear()
            batches = cut_by_length([(len(item.text), item) for item in self._queue], self._limits)
            self._computing, self._queue = len(self._queue), []
            for batch in batches:
                await self._compute([item for item in batch if not item.answered.done()])
                self._computing -= len(batch)

    async def _compute(self, batch: list[_Waiting[Text]]) -> None:
        if not batch:
            return
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._thread, self._answer, [item.text for item in batch])
        except Exception as error:
            for item in batch:
                if not item.answered.done():
                    item.answered.set_exception(error)
            return
        for item, answer in zip(batch, answers, strict=True):
            if not item.answered.done():
                item.answered.set_result(answer)


def cut_by_length(items: Sequence[tuple[int, Item]], limits: BatchLimits) -> list[list[Item]]:
    """Cuts texts into batches, the shortest first.

    Args:
        items: Number of tokens of each text, and the text.
        limits: How texts share batches.
    """
    batches: list[list[Item]] = []
    width = padding = 0
    for length, item in sorted(items, key=lambda found: -found[0]):
        padding += width - length
        if not batches or padding > limits.padding or width * (len(batches[-1]) + 1) > limits.tokens:
            batches.append([])
            width, padding = length, 0
        batches[-1].append(item)
    return batches[::-1]
