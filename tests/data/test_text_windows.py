from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from peft_lightning.data.examples import PadToLongest
from peft_lightning.data.prediction_batches import PredictionBatches, Windows
from peft_lightning.data.review_tokeniser import ReviewTokeniser
from peft_lightning.data.text_windows import ROWS_AT_ONCE, WINDOWS, TextWindows
from peft_lightning.errors import Setting, UserError
from tests.data.conftest import each, review

if TYPE_CHECKING:
    from peft_lightning.data.datamodule import TextDataModule

# From 3 to 28 words; so many that they are tokenised word by word.
TEXTS = [review(number) for number in range(60)]


@pytest.fixture
def tokeniser(tokenizer_folder: str, tmp_path: Path) -> Callable[..., ReviewTokeniser]:
    def make(stride: int | None = None, truncation: Any = "windows") -> ReviewTokeniser:
        return ReviewTokeniser(tokenizer_folder, None, 16, truncation, str(tmp_path), window_stride=stride)

    return make


@pytest.mark.parametrize("stride", [0, 5, 13])
def test_windows_are_those_that_tokenizers_make(
    stride: int, tokenizer: Any, tokeniser: Callable[..., ReviewTokeniser]
) -> None:
    ours = tokeniser(stride)
    reviews = ours.tokenise(TEXTS, np.arange(len(TEXTS)))
    assert ours.windows is not None
    cut = [ours.windows.cut(example["input_ids"]) for example in each(reviews)]
    expected = tokenizer(TEXTS, truncation=True, max_length=16, stride=stride, return_overflowing_tokens=True)
    of_text = [row for row, windows in enumerate(cut) for _ in windows]
    assert of_text == expected["overflow_to_sample_mapping"]
    assert [window.tolist() for windows in cut for window in windows] == expected["input_ids"]
    counts = ours.windows.count(reviews.tokens.lengths.numpy())
    assert counts.tolist() == list(map(len, cut))
    assert reviews.tokens.truncated.tolist() == [len(windows) > 1 for windows in cut]
    assert 0 < reviews.tokens.truncated.sum() < len(TEXTS)


def test_a_quarter_of_a_windows_own_tokens_is_shared_unless_it_is_set(
    tokeniser: Callable[..., ReviewTokeniser],
) -> None:
    windows = tokeniser().windows
    assert windows is not None
    assert (windows.overlap, windows.leading, windows.trailing) == (3, (0,), (2,))
    assert TextWindows.of(256, None, (0,), (2,)).overlap == 63


def test_windows_that_do_not_move_on_are_refused(tokeniser: Callable[..., ReviewTokeniser]) -> None:
    with pytest.raises(UserError, match=r"a window of 16 tokens has 14 of its text") as refused:
        tokeniser(14)
    assert refused.value.worded(Setting.as_flag).endswith("lower --data.window_stride")


def test_a_batch_of_texts_that_fit_is_the_one_they_have_without_windows(
    tokeniser: Callable[..., ReviewTokeniser],
) -> None:
    short = ["a film", "the plot was dull", "good"]
    batches = []
    for truncation in ("windows", "head"):
        made = tokeniser(truncation=truncation)
        reviews = made.tokenise(short, np.arange(3), np.array([0, 1, 1]))
        batches.append(made.collate(8, 2)([reviews[row] for row in range(3)]))
    assert batches[0].keys() == batches[1].keys() == {"input_ids", "attention_mask", "index", "labels"}
    assert all(torch.equal(batches[0][name], batches[1][name]) for name in batches[0])


def test_a_batch_has_its_texts_once_and_their_windows_as_rows(tokeniser: Callable[..., ReviewTokeniser]) -> None:
    made = tokeniser(5)
    reviews = made.tokenise(TEXTS, np.arange(60) + 100, np.arange(60) % 2)
    rows = [0, 4, 9]
    batch = made.collate(1, 2)([reviews[row] for row in rows])
    assert made.windows is not None
    cut = [made.windows.cut(reviews[row]["input_ids"]) for row in rows]
    assert batch[WINDOWS].tolist() == list(map(len, cut))
    assert batch[ROWS_AT_ONCE] == 2
    assert batch["index"].tolist() == [100, 104, 109]
    assert batch["labels"].tolist() == [0, 0, 1]
    kept = [ids[mask.bool()].tolist() for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    assert kept == [window.tolist() for windows in cut for window in windows]


def test_prediction_has_every_row_once_in_batches_of_a_bounded_size(tokeniser: Callable[..., ReviewTokeniser]) -> None:
    made = tokeniser(5)
    batches = list(PredictionBatches(Windows(TEXTS, 25), made, made.collate(1, 4), 4, 16))
    assert sorted(row for batch in batches for row in batch["index"].tolist()) == list(range(60))
    windows = [int(batch[WINDOWS].sum()) if WINDOWS in batch else len(batch["index"]) for batch in batches]
    assert windows == [len(batch["input_ids"]) for batch in batches]
    assert max(batch["input_ids"].numel() for batch in batches) <= 2 * 4 * 16


def test_training_reads_the_head_and_evaluation_all(
    make: Callable[..., "TextDataModule"], capsys: pytest.CaptureFixture[str]
) -> None:
    plain, data = make(max_length=16, truncation="head"), make(max_length=16, truncation="windows", window_stride=4)
    for module in (plain, data):
        module.setup("fit")
    assert torch.equal(data.train.tokens.input_ids, plain.train.tokens.input_ids)
    assert type(data.train_dataloader().collate_fn) is PadToLongest
    assert max(data.test.lengths) > 16 == max(plain.test.lengths)
    rows, windows = [], 0
    for loader in (data.val_dataloader(), data.test_dataloader()):
        for batch in loader:
            rows += batch["index"].tolist()
            windows += len(batch["input_ids"])
            assert len(batch["labels"]) == len(batch["index"])
    assert len(rows) == len(data.val) + len(data.test) == 50
    assert data.description()["windows"] == windows > 50
    assert plain.description()["windows"] is None
    assert f"to validate and test, 50 are read in {windows} windows\n" in capsys.readouterr().out
    assert data.description()["truncated_share"] == plain.description()["truncated_share"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"window_stride": 4}, "window_stride is for texts that are read in windows: leave it out, or say truncation="),
        ({"truncation": "windows", "window_stride": -1}, "window_stride -1 is too small"),
        ({"truncation": "windows", "text_pair_column": "b"}, "pairs of texts are not read in windows: cut them"),
        ({"truncation": "windows", "source": "embedded/pairs"}, "pairs of texts are not read in windows"),
        ({"truncation": "windows", "source": "glue/rte"}, "pairs of texts are not read in windows"),
    ],
)
def test_settings_that_do_not_go_together(
    settings: dict[str, Any], message: str, make: Callable[..., "TextDataModule"]
) -> None:
    with pytest.raises(UserError, match=message):
        make(**settings)
