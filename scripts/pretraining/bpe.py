"""The backbone's own byte-level BPE vocabulary, and the reviews as one long row of its tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# The ids that RoBERTa's configuration takes for granted: its position ids count from pad + 1.
SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
BOS, PAD, EOS, UNK, MASK = range(len(SPECIAL_TOKENS))
MODEL_MAX_LENGTH = 512

_CHUNK = 4096


def train_bpe(texts: Sequence[str], vocab_size: int, *, lowercase: bool = True) -> Tokenizer:
    """Trains a byte-level BPE vocabulary (Radford et al. 2019) with RoBERTa's special tokens.

    Line breaks written as HTML become a space, as part of the tokenizer: users' reviews get the same treatment.

    Args:
        texts: what to learn the merges from.
        vocab_size: number of tokens, special ones included.
        lowercase: fold case, which saves a small vocabulary from holding each word twice.
    """
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )

    tokenizer = Tokenizer(models.BPE())
    steps: list[normalizers.Normalizer] = [normalizers.Replace(Regex(r"(\s*<br\s*/?>\s*)+"), " ")]
    if lowercase:
        steps.append(normalizers.Lowercase())
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    # By position: the keyword for the second differs between releases of tokenizers.
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", EOS), ("<s>", BOS), True, True)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer, length=len(texts))
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> npt.NDArray[np.uint16]:
    """Writes the reviews one after another, each closed by `</s>`.

    Returns:
        token ids, shape (number of tokens,).

    Raises:
        ValueError: the vocabulary is too large for 16 bits.
    """
    if tokenizer.get_vocab_size() > np.iinfo(np.uint16).max:
        raise ValueError(f"a vocabulary of {tokenizer.get_vocab_size()} does not fit 16 bits")
    rows: list[npt.NDArray[np.uint16]] = []
    for start in range(0, len(texts), _CHUNK):
        encodings = tokenizer.encode_batch(list(texts[start : start + _CHUNK]), add_special_tokens=False)
        rows.extend(np.array([*encoding.ids, EOS], dtype=np.uint16) for encoding in encodings)
    return np.concatenate(rows)


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Saves the folder that `AutoTokenizer` loads as a fast tokenizer, in transformers 4 and 5 alike."""
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=MODEL_MAX_LENGTH,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )
    fast.save_pretrained(folder)
    # The class's name differs between the major versions; this one is known to both.
    config = folder / "tokenizer_config.json"
    settings = json.loads(config.read_text(encoding="utf-8"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    config.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
