"""What stands behind a text: the token that pads a decoder's batch, and the end-of-text token of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from peft_lightning.backbone.text_ends import choose_pad_token, end_texts, pad_apart_from_end
from peft_lightning.data.review_tokeniser import ReviewTokeniser
from peft_lightning.data.sources.text_pairs import TextPairs
from peft_lightning.data.tokenisation import tokenise
from peft_lightning.data.truncation import HEAD_SHARE
from peft_lightning.errors import Setting, UserError
from tests.data import kinds_of_tokenizers
from tests.methods.tiny_decoders import save_decoder


def tokenizer(*specials: str, steps: Any = None, **names: str) -> Any:
    """A decoder's tokenizer: letters, and these special tokens before them."""
    vocabulary = {piece: number for number, piece in enumerate([*specials, *dict.fromkeys("afilmgodthes ")])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.add_special_tokens(list(specials))
    if steps is not None:
        backend.post_processor = steps(backend)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def begin(backend: Tokenizer) -> Any:
    """Llama's: a token begins each text, and none ends it."""
    return processors.TemplateProcessing(
        single="<s> $A", pair=None, special_tokens=[("<s>", backend.token_to_id("<s>"))]
    )


def begin_behind_bytes(backend: Tokenizer) -> Any:
    """Llama 3's."""
    return processors.Sequence([processors.ByteLevel(trim_offsets=False), begin(backend)])


class TestPadding:
    @pytest.mark.parametrize(
        ("specials", "names", "chosen"),
        [
            # Llama 3.1 and its kin have a token for this very purpose.
            (("<s>", "</s>", "<|finetune_right_pad_id|>"), {"eos_token": "</s>"}, "<|finetune_right_pad_id|>"),
            (("<|endoftext|>", "<|padding|>"), {"eos_token": "<|endoftext|>"}, "<|padding|>"),  # Pythia
            (("<s>", "</s>", "<unk>"), {"eos_token": "</s>", "unk_token": "<unk>"}, "<unk>"),  # Llama 2, Mistral 0.1
            (("<|endoftext|>",), {"eos_token": "<|endoftext|>"}, "<|endoftext|>"),  # GPT-2
            (("<s>", "</s>", "<unused0>"), {"eos_token": "</s>"}, "<unused0>"),
        ],
    )
    def test_a_token_that_no_text_makes_comes_first(
        self, specials: tuple[str, ...], names: dict[str, str], chosen: str
    ) -> None:
        found = tokenizer(*specials, **names)
        note = choose_pad_token(found, len(found))
        assert note is not None
        assert note.endswith(f"has no pad token: {chosen!r} pads")
        assert found.pad_token == chosen

    def test_a_tokenizer_s_own_choice_is_kept_whatever_it_is(self) -> None:
        own = tokenizer("<s>", "</s>", "<pad>", eos_token="</s>", pad_token="</s>")
        assert choose_pad_token(own, len(own)) is None
        assert own.pad_token == "</s>"

    def test_a_pad_token_beyond_the_embeddings_gives_way_to_one_that_the_model_knows(self) -> None:
        added = tokenizer("<s>", "</s>", eos_token="</s>")
        before = len(added)
        added.add_special_tokens({"pad_token": "[PAD]"})
        note = choose_pad_token(added, before)
        assert note is not None
        assert note.endswith("has a pad token ('[PAD]') that its model does not know: '</s>' pads")

    def test_none_that_could_stand_for_it_is_one_line(self) -> None:
        with pytest.raises(UserError, match="no pad token, nor one that could stand for it: name one"):
            choose_pad_token(tokenizer(), None)

    def test_a_decoder_s_reviews_are_padded_and_an_encoder_s_without_a_pad_token_refused(self, tmp_path: Path) -> None:
        for model_type in ("gpt2", "roberta"):
            folder = tmp_path / model_type
            own = tokenizer("<|endoftext|>", eos_token="<|endoftext|>")
            if model_type == "gpt2":
                save_decoder("gpt2", folder)
            else:
                from tests.methods.tiny_backbones import save_backbone

                save_backbone("roberta", folder)
            own.save_pretrained(folder)
        tokeniser = ReviewTokeniser(str(tmp_path / "gpt2"), None, 16, "head", str(tmp_path))
        assert tokeniser.pad_token_id == 0
        assert len(tokeniser.notes) == 1
        with pytest.raises(UserError, match="has no pad token, so texts cannot share a batch"):
            ReviewTokeniser(str(tmp_path / "roberta"), None, 16, "head", str(tmp_path))


class TestEndOfText:
    @pytest.mark.parametrize("steps", [None, begin, begin_behind_bytes])
    def test_each_text_ends_in_it_once_and_begins_as_before(self, steps: Any) -> None:
        plain, ended = (tokenizer("<s>", "</s>", eos_token="</s>", steps=steps) for _ in range(2))
        end_texts(ended)
        for text in ("a film", "a", "the film is good"):
            before, after = (t(text, return_special_tokens_mask=True) for t in (plain, ended))
            assert after["input_ids"] == [*before["input_ids"], 1]
            assert after["special_tokens_mask"] == [*before["special_tokens_mask"], 1]
        end_texts(ended)  # a second call finds it there
        assert ended("a film")["input_ids"].count(1) == 1

    @pytest.mark.parametrize("truncation", list(HEAD_SHARE))
    def test_a_text_that_is_cut_keeps_it(self, truncation: Any) -> None:
        ended = tokenizer("<s>", "</s>", eos_token="</s>", steps=begin)
        end_texts(ended)
        texts = ["the film is good " * 5, "a film"] * 20
        tokens = tokenise(texts, ended, 8, truncation)
        for row in range(len(texts)):
            ids = tokens.input_ids[tokens.offsets[row] : tokens.offsets[row + 1]].tolist()
            assert (ids[0], ids[-1]) == (0, 1)
            assert len(ids) <= 8
        assert tokens.truncated.tolist() == [True, False] * 20

    def test_texts_that_are_tokenised_by_words_end_in_it_too(self) -> None:
        made = kinds_of_tokenizers.byte_level()
        made.eos_token = "<mask>"
        end_texts(made)
        texts = [f"the film was good and the plot {n} was dull" for n in range(64)]
        tokens = tokenise(texts, made, 12)
        ends = tokens.input_ids[tokens.offsets[1:] - 1]
        assert set(ends.tolist()) == {made.eos_token_id}
        expected = made(texts[0], truncation=False)["input_ids"]
        assert tokens.input_ids[:11].tolist() == expected[:10] + expected[-2:-1]

    @pytest.mark.parametrize("steps", [None, begin, begin_behind_bytes])
    def test_both_texts_of_a_pair_end_in_it_as_with_transformers_own_setting(self, steps: Any) -> None:
        plain, ended = (tokenizer("<s>", "</s>", eos_token="</s>", steps=steps) for _ in range(2))
        end_texts(ended)
        whole = plain("a film", "the film", return_token_type_ids=True)
        first = whole["token_type_ids"].index(1)
        expected = [*whole["input_ids"][:first], 1, *whole["input_ids"][first:], 1]
        assert ended("a film", "the film")["input_ids"] == expected
        types = ended("a film", "the film", return_token_type_ids=True)["token_type_ids"]
        assert types == [0] * (first + 1) + [1] * (len(expected) - first - 1)
        own = tokenizer("<s>", "</s>", bos_token="<s>", eos_token="</s>")
        own.add_bos_token, own.add_eos_token = False, True
        assert steps is not None or own("a film", "the film")["input_ids"] == expected
        end_texts(ended)  # a second call finds it there
        assert ended("a film", "the film")["input_ids"] == expected

    def test_a_pair_that_is_cut_keeps_it(self, tmp_path: Path) -> None:
        save_decoder("gpt2", tmp_path)
        tokenizer("<s>", "</s>", eos_token="</s>", steps=begin).save_pretrained(tmp_path)
        pairs = TextPairs(["the film is good " * 5, "a film"], ["a film", "the good film " * 9])
        lengths = []
        for ends in (False, True):
            made = ReviewTokeniser(str(tmp_path), None, 12, "head", str(tmp_path), ends).tokenise(pairs, np.arange(2))
            ids = [made[row]["input_ids"].tolist() for row in range(2)]
            assert [row.count(1) for row in ids] == [2 * ends] * 2
            assert [row[-1] == 1 for row in ids] == [ends] * 2
            lengths.append(made.lengths)
        assert lengths == [[12, 12], [12, 12]]

    def test_a_tokenizer_that_ends_single_texts_alone_ends_pairs_too(self) -> None:
        single = processors.TemplateProcessing(single="$A </s>", pair="$A $B", special_tokens=[("</s>", 1)])
        made = tokenizer("<s>", "</s>", eos_token="</s>", steps=lambda _: single)
        before = made("a film")["input_ids"]
        end_texts(made)
        assert made("a film")["input_ids"] == before
        assert made("a", "a")["input_ids"] == [before[0], 1, before[0], 1]

    def test_a_tokenizer_that_ends_texts_by_itself_is_left_alone(self) -> None:
        made = kinds_of_tokenizers.byte_level()
        made.eos_token = "</s>"
        before = made.backend_tokenizer.to_str()
        end_texts(made)
        assert made.backend_tokenizer.to_str() == before

    def test_no_such_token_is_one_line(self) -> None:
        with pytest.raises(UserError, match="has no end-of-text token") as refused:
            end_texts(tokenizer("<s>"))
        assert refused.value.worded(Setting.as_flag).endswith("leave --data.add_eos_token out")

    def test_the_cache_keeps_both_ways_apart(self, tmp_path: Path) -> None:
        save_decoder("gpt2", tmp_path / "model")
        tokenizer("<s>", "</s>", eos_token="</s>").save_pretrained(tmp_path / "model")
        lengths = [
            ReviewTokeniser(str(tmp_path / "model"), None, 16, "head", str(tmp_path), ends)
            .tokenise(["a film", "a"], np.arange(2))
            .lengths
            for ends in (False, True, False)
        ]
        assert lengths == [[5, 1], [6, 2], [5, 1]]


def with_one_special_token(texts: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer as GPT-2's: byte-level, and its end-of-text token is the only special one."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"])
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|endoftext|>")


def test_a_tokenizer_with_one_special_token_ends_and_pads_texts_with_two() -> None:
    texts = ["a wonderful film", "a film so dreadful", "wonderful, wonderful"] * 4
    tokenizer = with_one_special_token(texts)
    end_texts(tokenizer)
    before = tokenizer(texts)["input_ids"]
    pad_apart_from_end(tokenizer, None)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer(texts)["input_ids"] == before
    padded = np.array(tokenizer(texts, padding=True)["input_ids"])
    last = [row[row != tokenizer.pad_token_id][-1] for row in padded]
    assert set(last) == {tokenizer.eos_token_id}


def test_a_vocabulary_without_a_word_names_the_mend() -> None:
    tokenizer = with_one_special_token([])
    end_texts(tokenizer)
    with pytest.raises(UserError, match="no other token could pad") as raised:
        pad_apart_from_end(tokenizer, None)
    assert raised.value.worded(Setting.as_flag).endswith("train with --data.add_eos_token false")
