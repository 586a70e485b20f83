"""Small tokenizers of every kind, trained on the spot: byte-level BPE, WordPiece, Unigram, and others."""

from collections.abc import Callable
from functools import cache
from typing import Any

LINES = [
    "the film was good and the plot was dull , but never slow",
    "a most unusual film: I'd say it's fine, isn't it? (10/10)",
    "Müller's café in Köln plays naïve Ελληνικά and русские films - 1984, again!",
    "don't <br /><br />see it 123456 times; tokenisation of unbelievable words",
] * 20


def _fast(backend: Any, **names: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=512, **names)


def _trained(model: Any, trainer: Any, normalizer: Any, pre_tokenizer: Any, specials: list[str]) -> Any:
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    backend = Tokenizer(model)
    if normalizer is not None:
        backend.normalizer = normalizer
    if pre_tokenizer is not None:
        backend.pre_tokenizer = pre_tokenizer
    backend.train_from_iterator(LINES, trainer)
    first, last = specials[:2]
    ids = [(name, backend.token_to_id(name)) for name in (first, last)]
    pair = f"{first} $A {last} {last} $B {last}"
    backend.post_processor = TemplateProcessing(single=f"{first} $A {last}", pair=pair, special_tokens=ids)
    return _fast(backend, cls_token=first, sep_token=last, unk_token=specials[2], pad_token=specials[3])


def byte_level(add_prefix_space: bool = False, normalizer: Any = None, pre_tokenizer: Any = None) -> Any:
    from tokenizers import models, pre_tokenizers, trainers

    specials = ["<s>", "</s>", "<unk>", "<pad>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _trained(
        models.BPE(),
        trainers.BpeTrainer(vocab_size=600, special_tokens=specials, initial_alphabet=alphabet, show_progress=False),
        normalizer,
        pre_tokenizer or pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space),
        specials,
    )


def like_the_embedded_one() -> Any:
    from tokenizers import Regex, normalizers

    breaks = normalizers.Replace(Regex(r"(\s*<br\s*/?>\s*)+"), " ")
    return byte_level(True, normalizers.Sequence([breaks, normalizers.Lowercase()]))


def like_qwen() -> Any:
    from tokenizers import Regex, normalizers, pre_tokenizers

    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+"
    )
    split = pre_tokenizers.Split(Regex(pattern), "isolated")
    parts = [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    return byte_level(normalizer=normalizers.NFC(), pre_tokenizer=pre_tokenizers.Sequence(parts))


def word_piece() -> Any:
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    specials = ["[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]"]
    return _trained(
        models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20),
        trainers.WordPieceTrainer(vocab_size=300, special_tokens=specials, show_progress=False),
        normalizers.BertNormalizer(),
        pre_tokenizers.BertPreTokenizer(),
        specials,
    )


def unigram(normalizer: Any = None, whitespace: bool = False, **settings: Any) -> Any:
    from tokenizers import models, normalizers, pre_tokenizers, trainers

    specials = ["<s>", "</s>", "<unk>", "<pad>"]
    metaspace: Any = pre_tokenizers.Metaspace(**settings)
    return _trained(
        models.Unigram(),
        trainers.UnigramTrainer(vocab_size=200, special_tokens=specials, unk_token="<unk>", show_progress=False),
        normalizer or normalizers.NFKC(),
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace]) if whitespace else metaspace,
        specials,
    )


def like_albert() -> Any:
    from tokenizers import normalizers

    quotes = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    steps = [*quotes, normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    return unigram(normalizers.Sequence(steps), whitespace=True, prepend_scheme="always")


def with_an_added_word() -> Any:
    tokenizer = byte_level()
    tokenizer.add_tokens(["film", "plot was"])
    return tokenizer


def without_a_pre_tokenizer() -> Any:
    """Like Llama 2's: merges may cross spaces."""
    from tokenizers import models, normalizers, trainers

    specials = ["<s>", "</s>", "<unk>", "<pad>"]
    return _trained(
        models.BPE(unk_token="<unk>"),
        trainers.BpeTrainer(vocab_size=400, special_tokens=specials, show_progress=False),
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        None,
        specials,
    )


def with_another_pattern() -> Any:
    """Its tokens are of two words."""
    from tokenizers import Regex, pre_tokenizers

    pairs = pre_tokenizers.Split(Regex(r"\w+ \w+|\W"), "isolated")
    bytes_alone = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return byte_level(pre_tokenizer=pre_tokenizers.Sequence([pairs, bytes_alone]))


APART: dict[str, Callable[[], Any]] = {
    name: cache(make)
    for name, make in {
        "gpt2": byte_level,
        "roberta": lambda: byte_level(add_prefix_space=True),
        "embedded": like_the_embedded_one,
        "qwen": like_qwen,
        "bert": word_piece,
        "unigram": unigram,
        "unigram, first": lambda: unigram(prepend_scheme="first"),
        "t5": lambda: unigram(whitespace=True, prepend_scheme="always"),
        "albert": like_albert,
    }.items()
}
"""Those that tokenise words apart."""

WHOLE: dict[str, Callable[[], Any]] = {
    name: cache(make)
    for name, make in {
        "an added word": with_an_added_word,
        "llama 2": without_a_pre_tokenizer,
        "pairs of words": with_another_pattern,
    }.items()
}
"""Those that take the text as a whole."""
