from pathlib import Path

import pytest

from peft_lightning.data.examples import PadToLongest
from peft_lightning.data.prediction_batches import PredictionBatches, Share, Windows
from peft_lightning.data.review_tokeniser import ReviewTokeniser

TEXTS = ["a film " + "indeed " * (number * 7 % 23) for number in range(300)]
MAX_LENGTH = 16
Batches = list[list[int]]


@pytest.fixture(scope="module")
def tokeniser(tmp_path_factory: pytest.TempPathFactory) -> ReviewTokeniser:
    return ReviewTokeniser("embedded", None, MAX_LENGTH, "head", str(tmp_path_factory.mktemp("cache")))


def batches(tokeniser: ReviewTokeniser, share: Share, batch_size: int = 4, window: int = 128) -> Batches:
    """The rows of each batch of a process; those that have no answer are left out."""
    collate = PadToLongest(tokeniser.pad_token_id, 1, MAX_LENGTH)
    made = PredictionBatches(Windows(TEXTS, window), tokeniser, collate, batch_size, MAX_LENGTH, lambda: share)
    return [batch["index"].tolist() for batch in made]


def test_every_row_comes_once_and_its_tokens_are_those_of_the_text_alone(tokeniser: ReviewTokeniser) -> None:
    collate = PadToLongest(tokeniser.pad_token_id, 1, MAX_LENGTH)
    seen = {}
    for batch in PredictionBatches(Windows(TEXTS, 128), tokeniser, collate, 4, MAX_LENGTH):
        assert len(batch["index"]) <= 32
        assert batch["input_ids"].numel() <= 4 * MAX_LENGTH
        for row, ids, mask in zip(batch["index"].tolist(), batch["input_ids"], batch["attention_mask"], strict=True):
            assert row not in seen
            seen[row] = ids[mask.bool()].tolist()
    alone = tokeniser.tokenise_in_turn((row, [text]) for row, text in enumerate(TEXTS))
    assert [seen[row] for row in range(len(TEXTS))] == [reviews[0]["input_ids"].tolist() for reviews in alone]


@pytest.mark.parametrize("world_size", [2, 3, 8])
def test_processes_together_compute_the_batches_of_one(tokeniser: ReviewTokeniser, world_size: int) -> None:
    alone = batches(tokeniser, Share())
    shares = [batches(tokeniser, Share(rank, world_size)) for rank in range(world_size)]
    assert len({len(share) for share in shares}) == 1, "a process would wait for another's answers"
    dealt = [batch for together in zip(*shares, strict=True) for batch in together]
    assert dealt[: len(alone)] == alone
    assert all(set(batch) == {-1} for batch in dealt[len(alone) :])


@pytest.mark.parametrize("done", [0, 3, 17, 40])
def test_what_goes_on_computes_the_batches_that_are_left(tokeniser: ReviewTokeniser, done: int) -> None:
    alone = batches(tokeniser, Share())
    rows = {row for batch in alone[:done] for row in batch}
    windows = next(window for window in range(3) if not set(Windows(TEXTS, 128).rows(window)) <= rows)
    left = frozenset(rows - set(range(windows * 128)))
    assert batches(tokeniser, Share(0, 1, windows, left)) == alone[done:]


def test_windows_are_told_apart_by_their_texts(tmp_path: Path) -> None:
    windows, other = Windows(TEXTS, 128), Windows([*TEXTS[:200], "another", *TEXTS[201:]], 128)
    same = [windows.digest(number) == other.digest(number) for number in range(len(windows))]
    assert same == [True, False, True]
