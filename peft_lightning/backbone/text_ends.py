"""What stands behind a text: the token that pads a decoder's batch, and an end-of-text token."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from peft_lightning.errors import Setting, UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Tokens that were made for padding, or for no use yet; no text makes them. The first is Llama 3.1's, <|padding|> is
# Pythia's.
_UNUSED = (
    "<|finetune_right_pad_id|>",
    "<pad>",
    "[PAD]",
    "<|pad|>",
    "<|PAD|>",
    "<|padding|>",
    "<PAD>",
    "<|reserved_special_token_0|>",
    "<|reserved_0|>",
    "<unused0>",
    "<unused_0>",
    "[unused0]",
)
# How vocabularies of byte-level BPE and of SentencePiece write the space before a word. Maltese has a letter Ġ, and
# short words with it, which a text may hold.
_SPACES = ("Ġ", "▁")
_SHORT = 5


def choose_pad_token(tokenizer: PreTrainedTokenizerBase, embeddings: int | None) -> str | None:
    """Chooses what pads a decoder's batches where the tokenizer has no pad token that its model knows.

    A token made for padding or reserved comes first, then the one for unknown words, which byte-level vocabularies
    never use, then the one that ends or begins a text (GPT-2 has no other). None of them changes a score: the attention
    mask says what is padding, and where a text ends.

    Args:
        tokenizer: The model's tokenizer; its pad token is set.
        embeddings: The number of tokens that the model has embeddings for; None if it is not known.

    Returns:
        A note where another token was chosen, else None.

    Raises:
        UserError: The tokenizer has none of these tokens.
    """
    vocabulary = tokenizer.get_vocab()

    def known(token: object) -> bool:
        return isinstance(token, str) and token in vocabulary and (embeddings is None or vocabulary[token] < embeddings)

    before = tokenizer.pad_token
    if known(before):
        return None
    ends = (tokenizer.unk_token, tokenizer.eos_token, tokenizer.bos_token)
    chosen = next((token for token in (*_UNUSED, *ends) if known(token)), None)
    if chosen is None:
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path} has no pad token, nor one that could stand for it: name one of"
            " its tokens as pad_token in tokenizer_config.json"
        )
    tokenizer.pad_token = chosen
    why = "no pad token" if before is None else f"a pad token ({before!r}) that its model does not know"
    return f"the tokenizer of {tokenizer.name_or_path} has {why}: {chosen!r} pads"


def pad_apart_from_end(tokenizer: PreTrainedTokenizerBase, embeddings: int | None) -> None:
    """Gives a tokenizer whose texts end with its pad token another one.

    transformers' own classes score a decoder's last token that is not the pad token, so a text's end would be skipped.
    A text that holds the new pad token is scored as before, since another token ends it. GPT-2's tokenizer and Phi-2's
    have no other special token: a word with the mark of its space pads there, which no text has in these letters.

    Args:
        tokenizer: The tokenizer, with a pad token; it is changed in place.
        embeddings: The number of tokens that the model has embeddings for; None if it is not known.

    Raises:
        UserError: No other token of the tokenizer can pad.
    """
    if tokenizer.pad_token_id != tokenizer.eos_token_id or not _ends_texts(tokenizer):
        return
    vocabulary = tokenizer.get_vocab()
    special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    around = {*tokenizer("a film")["input_ids"], tokenizer.eos_token_id}
    words = sorted(
        (token for token in vocabulary if token.startswith(_SPACES) and token[1:].isalpha() and len(token) > _SHORT),
        key=lambda token: -vocabulary[token],
    )
    for token in (*_UNUSED, tokenizer.unk_token, *special, *words):
        number = vocabulary.get(token) if isinstance(token, str) else None
        if number is not None and number not in around and (embeddings is None or number < embeddings):
            tokenizer.pad_token = token
            return
    raise UserError(
        f"{tokenizer.eos_token!r} of the tokenizer of {tokenizer.name_or_path} both ends texts and pads them, and no"
        " other token could pad, so that transformers would score another token than the run did: give the tokenizer a"
        " pad token of its own before training, or train with ",
        Setting("data.add_eos_token", False),
    )


def end_texts(tokenizer: PreTrainedTokenizerBase) -> None:
    """Lets a tokenizer end each text with its end-of-text token, unless it does so by itself; both texts of a pair too.

    Pairs are those of transformers' own ``add_eos_token``. The token is one of the special ones around a text, so that
    a text that is cut keeps it.

    Args:
        tokenizer: The model's tokenizer; it is changed in place.

    Raises:
        UserError: The tokenizer has no such token, or no steps that one could be added to.
    """
    token, number = tokenizer.eos_token, tokenizer.eos_token_id
    if token is None or number is None:
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path} has no end-of-text token: leave ",
            Setting("data.add_eos_token"),
            " out",
        )
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        single, pair = not _ends_texts(tokenizer), not _ends_texts(tokenizer, "a plot")
        if single or pair:
            backend.post_processor = _ending(backend.post_processor, token, number, single, pair)
    if not _ends_texts(tokenizer):
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path} ends texts in a way of its own, and {token!r} cannot be added:"
            " leave ",
            Setting("data.add_eos_token"),
            " out",
        )


def _ends_texts(tokenizer: PreTrainedTokenizerBase, *second: str) -> bool:
    """Tells whether a text, or a pair with this second text, ends with the end-of-text token."""
    ids: list[int] = tokenizer("a film", *second, verbose=False)["input_ids"]
    return ids[-1:] == [tokenizer.eos_token_id]


def _ending(steps: Any, token: str, number: int, single: bool, pair: bool) -> Any:
    """Returns a tokenizer's last steps with a token added behind each single text, and behind both texts of a pair."""
    from tokenizers.processors import Sequence

    state = {"type": "Sequence", "processors": []} if steps is None else json.loads(steps.__getstate__())
    listed: Any = state["processors"] if state["type"] == "Sequence" else [state]
    processors: list[dict[str, Any]] = list(listed)
    templates = [step for step in processors if step["type"] == "TemplateProcessing"]
    if not templates:
        first, second = ({"Sequence": {"id": name, "type_id": kind}} for name, kind in (("A", 0), ("B", 1)))
        templates = [{"type": "TemplateProcessing", "single": [first], "pair": [first, second], "special_tokens": {}}]
        processors = processors + templates
    # Two templates in a row would not do: the second would take what the first puts around a text for a text.
    template = templates[-1]
    if single:
        template["single"].append(_special(token, 0))
    if pair:
        template["pair"] = _ended_pair(template["pair"], token)
    template["special_tokens"][token] = {"id": token, "ids": [number], "tokens": [token]}
    ended = Sequence([])
    ended.__setstate__(json.dumps({"type": "Sequence", "processors": processors}).encode())
    return ended


def _ended_pair(pieces: list[dict[str, Any]], token: str) -> list[dict[str, Any]]:
    """Returns the pieces of a pair with a token behind the first text, and one behind all, with the types there."""
    ended: list[dict[str, Any]] = []
    for piece in pieces:
        ended.append(piece)
        if piece.get("Sequence", {}).get("id") == "A":
            ended.append(_special(token, piece["Sequence"]["type_id"]))
    (last,) = pieces[-1].values()
    return [*ended, _special(token, last["type_id"])]


def _special(token: str, type_id: int) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": type_id}}
