"""A real, small tokenizer and reviews for the data tests."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from peft_lightning.data.datamodule import TextDataModule
    from peft_lightning.data.examples import Example, TokenisedReviews

WORDS = ["a", "the", "film", "plot", "was", "is", "good", "dull", "fine", "slow", "and", "but", "never", "most"]


def review(number: int) -> str:
    """A review of 3 to 27 words, different for each number."""
    return " ".join(WORDS[(number * 7 + i * i) % len(WORDS)] for i in range(3 + number * 5 % 25)) + f" {number}"


def each(reviews: "TokenisedReviews") -> "Iterator[Example]":
    """The examples in order: Python counts up to IndexError, which types know nothing of."""
    return iter(cast("Iterable[Example]", reviews))


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A byte-level BPE with RoBERTa's special tokens, whose model takes 64 tokens."""
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.processors import RobertaProcessing
    from transformers import PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(map(review, range(200)), vocab_size=400, special_tokens=["<s>", "<pad>", "</s>", "<unk>"])
    bpe.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    folder = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        model_max_length=64,
    ).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tokenizer(tokenizer_folder: str) -> Any:
    from peft_lightning.backbone.loading import load_tokenizer

    return load_tokenizer(tokenizer_folder)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Writes a file below the test's folder."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def reviews_folder(tmp_path: Path) -> Path:
    """100 training and 40 test reviews, a quarter of them positive, as Parquet files."""
    import pandas as pd

    folder = tmp_path / "reviews"
    folder.mkdir()
    for name, numbers in (("train", range(100)), ("test", range(1000, 1040))):
        rows = {"text": list(map(review, numbers)), "label": [int(n % 4 == 0) for n in numbers]}
        pd.DataFrame(rows).to_parquet(folder / f"{name}.parquet")
    return folder


@pytest.fixture
def make(reviews_folder: Path, tokenizer_folder: str, tmp_path: Path) -> "Callable[..., TextDataModule]":
    """Makes a data module of these reviews, with further arguments."""
    from peft_lightning.data.datamodule import TextDataModule

    def make(**arguments: Any) -> TextDataModule:
        defaults: dict[str, Any] = {
            "source": str(reviews_folder),
            "model_name_or_path": tokenizer_folder,
            "cache_dir": str(tmp_path / "cache"),
            "max_length": 24,
        }
        return TextDataModule(**{**defaults, **arguments})

    return make
