import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.locations import EMBEDDED_FOLDER
from peft_lightning.backbone.tokenizers import load_tokenizer, require_usable
from peft_lightning.data.review_tokeniser import ReviewTokeniser
from peft_lightning.errors import Setting, UserError

CONFIG, TOKENIZER = "tokenizer_config.json", "tokenizer.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The embedded model's configuration and tokenizer, to be spoilt."""
    (tmp_path / "model").mkdir()
    for name in ("config.json", CONFIG, TOKENIZER):
        shutil.copy(EMBEDDED_FOLDER / name, tmp_path / "model")
    return tmp_path / "model"


def one_line(folder: Path, texts: tuple[str, ...] = ("a film",), max_length: int = 16) -> str:
    """The line in which tokenising ends."""
    with pytest.raises(UserError) as raised:
        tokenise(folder, texts, max_length)
    line = raised.value.worded(Setting.as_flag)
    assert "\n" not in line
    assert str(folder) in line
    return line


def tokenise(folder: Path, texts: tuple[str, ...], max_length: int = 16) -> Any:
    tokeniser = ReviewTokeniser(str(folder), None, max_length, "head", str(folder.parent / "cache"))
    return tokeniser.tokenise(texts, np.arange(len(texts)))


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_length_beyond_the_model_is_refused(folder: Path) -> None:
    assert "max_length 513 is beyond the 512 tokens" in one_line(folder, max_length=513)
    assert one_line(folder, max_length=513).endswith("use --data.max_length 512 or less")
    assert len(tokenise(folder, ("a film",), 512)) == 1


def test_a_tokenizer_that_cannot_pad_is_refused(folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder))
    tokenizer.pad_token = None
    with pytest.raises(UserError, match="has no pad token"):
        require_usable(tokenizer, 16)


@pytest.mark.parametrize("limit", ['"x"', '"512"', "-1", "0", "true", "NaN", "[512]", "{}"])
def test_a_limit_that_is_no_number_of_tokens_is_refused_and_shown(limit: str, folder: Path) -> None:
    (folder / CONFIG).write_text(f'{{"model_max_length": {limit}, "pad_token": "<pad>"}}')
    assert "mend model_max_length in its tokenizer_config.json" in one_line(folder)


@pytest.mark.parametrize("limit", ["null", "512.0", "1e30", "Infinity", "1" + "0" * 400])
def test_a_limit_of_another_spelling_or_none_is_taken(limit: str, folder: Path) -> None:
    (folder / CONFIG).write_text(f'{{"model_max_length": {limit}, "pad_token": "<pad>"}}')
    assert len(tokenise(folder, ("a film", "a"))) == 2


@pytest.mark.parametrize("pad", ["<nope>", ""])
def test_a_pad_token_that_the_model_does_not_know_is_refused_by_name(pad: str, folder: Path) -> None:
    edit(folder / CONFIG, lambda content: content.update(pad_token=pad))
    assert f"{pad!r}, is not in the vocabulary of its model" in one_line(folder)


def test_a_token_beyond_the_embeddings_is_named_with_the_sizes(folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder))
    tokenizer.add_tokens(["@USER", "HTTPURL"])
    tokenizer.save_pretrained(folder)
    line = one_line(folder, ("a film", "@USER says no"))
    assert "'@user' (number 8192)" in line
    assert "has embeddings for 8192: its tokenizer has 8194" in line
    assert "resize_token_embeddings(8194)" in line
    # A token that no text has does no harm.
    assert len(tokenise(folder, ("a film", "the user says no"))) == 2


def test_the_tokenizer_of_another_architecture_is_refused(folder: Path) -> None:
    (folder / CONFIG).write_text('{"tokenizer_class": "BertTokenizer"}')
    assert "'[PAD]', is not in the vocabulary of its model" in one_line(folder)


@pytest.mark.parametrize("content", ["{", "[]", "{}", "null", "[" * 100_000, '{"model_max_length": {"a"'])
@pytest.mark.parametrize("name", [CONFIG, TOKENIZER])
def test_a_damaged_file_is_one_line(name: str, content: str, folder: Path) -> None:
    (folder / name).write_text(content)
    if (name, content) != (CONFIG, "{}"):  # no settings are no damage
        assert "holds no tokenizer that loads" in one_line(folder)


def test_a_tokenizer_that_makes_no_tokens_of_words_is_refused(folder: Path) -> None:
    spell(folder, "BPE", "xyz", merges=[])
    assert "makes no token of ordinary words ('a film')" in one_line(folder)


def test_a_text_without_a_token_is_named_by_its_row(folder: Path) -> None:
    spell(folder, "BPE", "afilm", merges=[])
    assert "the text in row 2 ('böse') makes no token" in one_line(folder, ("a film", "böse"))


def test_a_text_that_the_tokenizer_cannot_take_is_one_line(folder: Path) -> None:
    spell(folder, "WordLevel", ("a", "film"), unk_token="<unk>")
    assert "cannot take the texts: WordLevel error: Missing [UNK] token" in one_line(folder, ("a film", "böse"))


def test_the_number_of_embeddings_is_the_model_s(folder: Path) -> None:
    assert Backbone(str(folder)).embeddings() == 8192
    (folder / "config.json").unlink()
    assert Backbone(str(folder)).embeddings() is None


def spell(folder: Path, kind: str, vocabulary: Iterable[str], **model: Any) -> None:
    """Makes a tokenizer of these pieces, which puts nothing around a text."""
    pieces = {piece: number for number, piece in enumerate(("<pad>", *vocabulary))}
    content = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": kind, "vocab": pieces, **model},
    }
    (folder / TOKENIZER).write_text(json.dumps(content))
    (folder / CONFIG).write_text('{"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>"}')
