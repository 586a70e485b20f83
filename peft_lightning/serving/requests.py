"""What a request asks: the texts of a body, or pairs of texts, or what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from peft_lightning.data.sources.checked_rows import checked_texts
from peft_lightning.data.sources.surrogates import refuse_half_characters
from peft_lightning.data.sources.text_pairs import Pair
from peft_lightning.errors import UserError

_SHAPE = 'send {"text": "…"} or {"texts": ["…", "…"]}'
_PAIR = '{"text": "…", "text_pair": "…"}'
_SHAPE_OF_PAIRS = f'send {_PAIR} or {{"texts": [{_PAIR}, …]}}'
_KEYS_OF_PAIR = ("text", "text_pair")


class BadRequest(Exception):
    """A request that cannot be answered.

    Args:
        status: The status code, in the four hundreds.
        message: What is wrong and how to mend it.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Asked:
    """The texts of a request, or its pairs of texts, and whether it was one by itself."""

    texts: list[str] | list[Pair]
    single: bool


def read_request(content_type: str, body: bytes, most_texts: int, in_pairs: bool | None = False) -> Asked:
    """Reads the body of ``POST /predict``.

    Args:
        content_type: The header of that name.
        body: The body.
        most_texts: Number of texts, or of pairs, that a request may have.
        in_pairs: Whether the model takes pairs of texts; None where it is not known, and the first text tells.

    Raises:
        BadRequest: It asks for nothing that can be answered.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise BadRequest(415, f"the content type is {content_type or 'not given'!r}, not application/json")
    shape = _SHAPE_OF_PAIRS if in_pairs else _SHAPE
    try:
        asked = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise BadRequest(400, f"the body is not UTF-8 (byte {error.start})") from error
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise BadRequest(400, f"the body is not JSON ({reason}): {shape}") from error
    if not isinstance(asked, dict) or set(asked) not in ({"text"}, {"texts"}, set(_KEYS_OF_PAIR)):
        raise BadRequest(422, f"the body is not as expected: {shape}")
    if "texts" not in asked:
        alone = asked if "text_pair" in asked else asked["text"]
        return Asked(_checked_as([alone], in_pairs, single=True), single=True)
    texts = asked["texts"]
    if not isinstance(texts, list) or not texts:
        raise BadRequest(422, f"texts is {'empty' if texts == [] else 'no list'}: {shape}")
    if len(texts) > most_texts:
        raise BadRequest(413, f"texts has {len(texts):,} texts: send at most {most_texts:,} in a request")
    return Asked(_checked_as(texts, in_pairs, single=False), single=False)


def _checked_as(given: list[Any], in_pairs: bool | None, single: bool) -> list[str] | list[Pair]:
    """Returns texts or pairs of texts, as a model takes them."""
    if in_pairs is None:
        in_pairs = isinstance(given[0], dict)
    names = ["the body"] if single else [f"texts[{place}]" for place in range(len(given))]
    for text, name in zip(given, names, strict=True):
        is_pair = isinstance(text, dict) and set(text) == set(_KEYS_OF_PAIR)
        if in_pairs and not is_pair:
            raise BadRequest(422, f"{name} is no pair of texts, which this model takes: {_SHAPE_OF_PAIRS}")
        if is_pair and not in_pairs:
            raise BadRequest(422, f"{name} is a pair of texts, and this model takes single ones: {_SHAPE}")
    if not in_pairs:
        return checked(given, {0: "text"} if single else {})
    sides = []
    for key in _KEYS_OF_PAIR:
        of_side = {place: key if single else f"{name}.{key}" for place, name in enumerate(names)}
        sides.append(checked([pair[key] for pair in given], of_side, _SHAPE_OF_PAIRS))
    return list(zip(*sides, strict=True))


def checked_pair(first: str, second: str) -> list[Pair]:
    """Returns what was typed as a pair.

    Args:
        first: The first text.
        second: The second text.

    Raises:
        BadRequest: One is blank, or holds half of a character.
    """
    return [(checked([first], {0: "the first field"})[0], checked([second], {0: "the second field"})[0])]


def checked(texts: list[object], names: Mapping[int, str], shape: str = _SHAPE) -> list[str]:
    """Returns texts as they are.

    Args:
        texts: What was sent.
        names: Names of those that have another than their place in ``texts``.
        shape: What to send instead.

    Raises:
        BadRequest: One is no text, blank, or holds half of a character.
    """

    def name(place: int) -> str:
        return names.get(place, f"texts[{place}]")

    try:
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise BadRequest(422, f"{name(place)} is no string: {shape}")
        found = list(checked_texts(texts, name))
        refuse_half_characters(found, name)
    except UserError as error:
        # How a row of a table is mended is no matter here.
        raise BadRequest(422, str(error).partition(": ")[0]) from error
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
