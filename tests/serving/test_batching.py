import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from peft_lightning.serving.batching import Batcher, BatchLimits, QueueFull, cut_by_length

LIMITS = BatchLimits(tokens=64, padding=8, waiting=100, wait_s=0.001)


def ids(length: int) -> Tensor:
    return torch.full((length,), length)


def answer(texts: Sequence[Tensor]) -> list[dict[str, Any]]:
    return [{"length": len(text)} for text in texts]


def test_similar_lengths_share_a_batch_and_the_shortest_come_first() -> None:
    lengths = [3, 40, 4, 5, 38, 3, 16, 16, 16, 16, 16]
    batches = cut_by_length([(length, length) for length in lengths], LIMITS)
    assert sorted(length for batch in batches for length in batch) == sorted(lengths)
    for batch in batches:
        assert len(batch) == 1 or max(batch) * len(batch) <= LIMITS.tokens
        assert sum(max(batch) - length for length in batch) <= LIMITS.padding
    assert [max(batch) for batch in batches] == sorted(max(batch) for batch in batches)
    assert batches[0] == [5, 4, 3, 3]


def test_texts_that_arrive_meanwhile_are_computed_together_and_answered_in_order() -> None:
    sizes: list[int] = []
    free = threading.Event()

    def slow(texts: Sequence[Tensor]) -> list[dict[str, Any]]:
        sizes.append(len(texts))
        free.wait(10)
        return answer(texts)

    async def scene() -> list[list[dict[str, Any]]]:
        batcher = Batcher(slow, LIMITS)
        batcher.start()
        first = asyncio.create_task(batcher.answers([ids(2)]))
        while not sizes:
            await asyncio.sleep(0.001)
        more = [asyncio.create_task(batcher.answers([ids(length), ids(9 - length)])) for length in (3, 4)]
        await asyncio.sleep(0.01)
        free.set()
        found = await asyncio.gather(first, *more)
        await batcher.stop()
        return found

    assert asyncio.run(scene()) == [
        [{"length": 2}],
        *([{"length": length}, {"length": 9 - length}] for length in (3, 4)),
    ]
    assert sizes == [1, 4]


def test_more_than_may_wait_is_refused_and_the_rest_answered() -> None:
    async def scene() -> None:
        batcher = Batcher(answer, BatchLimits(64, 8, 3, 0.01))
        waiting = asyncio.create_task(batcher.answers([ids(2), ids(3)]))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await batcher.answers([ids(1), ids(1)])
        batcher.start()
        assert await waiting == [{"length": 2}, {"length": 3}]
        assert batcher.waiting == 0
        assert await batcher.answers([ids(1), ids(1)]) == [{"length": 1}] * 2
        await batcher.stop()

    asyncio.run(scene())


def test_a_batch_that_fails_fails_its_requests_alone() -> None:
    def fails(texts: Sequence[Tensor]) -> list[dict[str, Any]]:
        if any(len(text) == 13 for text in texts):
            raise RuntimeError("no memory")
        return answer(texts)

    async def scene() -> None:
        batcher = Batcher(fails, LIMITS)
        batcher.start()
        with pytest.raises(RuntimeError, match="no memory"):
            await batcher.answers([ids(13)])
        assert await batcher.answers([ids(4)]) == [{"length": 4}]
        await batcher.stop()

    asyncio.run(scene())


def test_a_request_that_was_given_up_is_not_computed() -> None:
    seen: list[int] = []

    def noting(texts: Sequence[Tensor]) -> list[dict[str, Any]]:
        seen.extend(map(len, texts))
        return answer(texts)

    async def scene() -> None:
        batcher = Batcher(noting, LIMITS)
        given_up = asyncio.create_task(batcher.answers([ids(5)]))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.sleep(0)
        batcher.start()
        assert await batcher.answers([ids(6)]) == [{"length": 6}]
        await batcher.stop()

    asyncio.run(scene())
    assert seen == [6]
