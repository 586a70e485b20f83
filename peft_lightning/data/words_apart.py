"""Which tokenizers tokenise the words of a text apart, so that the tokens of a text are those of its words in a row.

A tokenizer works in steps: added tokens are found in the text, the text is normalised, it is taken apart by the
pre-tokenizer, and the model makes tokens of each part. If no step looks across a space between two plain characters,
then ``tokens(a + " " + b) == tokens(a) + tokens(" " + b)`` there. Steps are known by their kind and their settings; a
tokenizer with a step that is not known here is left to tokenise whole texts.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Letters of alphabets whose words are set apart by spaces: Latin, Greek, Cyrillic.
_ALPHABETS = (range(0xC0, 0x250), range(0x370, 0x400), range(0x400, 0x530))


def _is_plain_letter(letter: str) -> bool:
    """Tells whether every normal form of a letter is made of letters and the accents behind them."""
    normal = unicodedata.normalize("NFKD", letter)
    return letter.isalpha() and normal[0].isalpha() and all(c.isalpha() or unicodedata.combining(c) for c in normal)


PLAIN = frozenset(
    chain(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'\"()-",
        filter(_is_plain_letter, map(chr, chain(*_ALPHABETS))),
    )
)
"""Characters that no known step takes together with a space beside them."""

_CLASS = re.escape("".join(sorted(PLAIN)))
SPACE_BETWEEN_WORDS = re.compile(f"(?<=[{_CLASS}]) (?=[{_CLASS}])")
"""The spaces at which a text comes apart: one by itself, with plain characters on both sides."""

# Patterns whose matches begin at such a space, end before it, or are that space: of GPT-2, of Llama 3, and of Qwen 2.
_GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LATER = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_WORD_PATTERNS = frozenset({_GPT_2, _LATER.replace("DIGITS", "{1,3}"), _LATER.replace("DIGITS", "")})
# Patterns that match several spaces, or a line break in HTML with the spaces around it.
_SPACE_PATTERNS = frozenset({" {2,}", r"(\s*<br\s*/?>\s*)+"})
_PLAIN_NORMALIZERS = frozenset(
    {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Precompiled", "StripAccents"}
)
# These make parts of words and leave spaces out.
_LEAVE_SPACES_OUT = frozenset({"BertPreTokenizer", "Whitespace", "WhitespaceSplit"})


def tokenises_words_apart(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Tells whether a text's tokens are those of its parts between the spaces that ``SPACE_BETWEEN_WORDS`` finds.

    Args:
        tokenizer: The model's tokeniser.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or getattr(backend.model, "dropout", None):
        return False
    try:
        normalizers = _steps(backend.normalizer, "normalizers")
        pre_tokenizers = _steps(backend.pre_tokenizer, "pretokenizers")
    # A step that is written in Python cannot say what it is.
    except Exception:
        return False
    return (
        any(_separates(step) for step in pre_tokenizers)
        and all(_is_known_pre_tokenizer(step) for step in pre_tokenizers)
        and all(_is_known_normalizer(step, pre_tokenizers[0]) for step in normalizers)
        and all(_stays_in_a_word(token.content) for token in backend.get_added_tokens_decoder().values())
        and (backend.normalizer is None or all(_stays_plain(backend.normalizer.normalize_str(c)) for c in PLAIN))
    )


def _steps(step: Any, members: str) -> list[dict[str, Any]]:
    """Lists the states of a step that may be a sequence of steps."""
    if step is None:
        return []

    def flat(state: dict[str, Any]) -> list[dict[str, Any]]:
        return [inner for member in state[members] for inner in flat(member)] if members in state else [state]

    return flat(json.loads(step.__getstate__()))


def _separates(step: Mapping[str, Any]) -> bool:
    """Tells whether a pre-tokenizer begins a new part at a space between words."""
    match step["type"]:
        case "ByteLevel":
            return bool(step["use_regex"])
        case "Metaspace":
            return bool(step["split"])
        case kind:
            return kind == "Split" or kind in _LEAVE_SPACES_OUT


def _is_known_pre_tokenizer(step: Mapping[str, Any]) -> bool:
    match step["type"]:
        case "ByteLevel" | "Metaspace" | "Digits":
            return True
        case "Punctuation":
            return bool(step["behavior"] == "Isolated")
        case "Split":
            pattern = step["pattern"].get("Regex")
            return pattern in _WORD_PATTERNS and step["behavior"] == "Isolated" and not step["invert"]
        case kind:
            return kind in _LEAVE_SPACES_OUT


def _is_known_normalizer(step: Mapping[str, Any], first_pre_tokenizer: Mapping[str, Any]) -> bool:
    match step["type"]:
        case "Strip":
            # It takes the space before a word away, which must not matter then.
            return not step["strip_left"] or first_pre_tokenizer["type"] in _LEAVE_SPACES_OUT
        case "Replace":
            if "Regex" in step["pattern"]:
                pattern = step["pattern"]["Regex"]
                return pattern in _SPACE_PATTERNS or (pattern == r"\s+" and step["content"] == " ")
            return not any(c.isspace() or c == "▁" for c in step["pattern"]["String"] + step["content"])
        case kind:
            return kind in _PLAIN_NORMALIZERS


def _stays_in_a_word(content: str) -> bool:
    """Tells whether an added token is never found in plain words, nor across a space between them."""
    if not content.strip():
        return len(content) > 1
    return SPACE_BETWEEN_WORDS.search(content) is None and any(c not in PLAIN and c != " " for c in content)


def _stays_plain(normal: str) -> bool:
    """Tells whether what a plain character is normalised to has no space, and nothing else that is not plain."""
    return normal != "" and all(c in PLAIN or c.isalpha() or unicodedata.combining(c) for c in normal)
