"""What a request asks: the texts of a body, or what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn

from peft_lightning.data.sources.corpus import checked_texts
from peft_lightning.data.sources.surrogates import refuse_half_characters
from peft_lightning.errors import UserError

_SHAPE = 'send {"text": "…"} or {"texts": ["…", "…"]}'


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
    """The texts of a request, and whether it was one text by itself."""

    texts: list[str]
    single: bool


def read_request(content_type: str, body: bytes, most_texts: int) -> Asked:
    """Reads the body of ``POST /predict``.

    Args:
        content_type: The header of that name.
        body: The body.
        most_texts: Number of texts that a request may have.

    Raises:
        BadRequest: It asks for nothing that can be answered.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise BadRequest(415, f"the content type is {content_type or 'not given'!r}, not application/json")
    try:
        asked = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise BadRequest(400, f"the body is not UTF-8 (byte {error.start})") from error
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise BadRequest(400, f"the body is not JSON ({reason}): {_SHAPE}") from error
    if not isinstance(asked, dict) or set(asked) not in ({"text"}, {"texts"}):
        raise BadRequest(422, f"the body is not as expected: {_SHAPE}")
    if "text" in asked:
        return Asked(checked([asked["text"]], {0: "text"}), single=True)
    texts = asked["texts"]
    if not isinstance(texts, list) or not texts:
        raise BadRequest(422, f"texts is {'empty' if texts == [] else 'no list'}: {_SHAPE}")
    if len(texts) > most_texts:
        raise BadRequest(413, f"texts has {len(texts):,} texts: send at most {most_texts:,} in a request")
    return Asked(checked(texts, {}), single=False)


def checked(texts: list[object], names: Mapping[int, str]) -> list[str]:
    """Returns texts as they are.

    Args:
        texts: What was sent.
        names: Names of those that have another than their place in ``texts``.

    Raises:
        BadRequest: One is no text, blank, or holds half of a character.
    """

    def name(place: int) -> str:
        return names.get(place, f"texts[{place}]")

    try:
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise BadRequest(422, f"{name(place)} is no string: {_SHAPE}")
        found = list(checked_texts(texts, name))
        refuse_half_characters(found, name)
    except UserError as error:
        # How a row of a table is mended is no matter here.
        raise BadRequest(422, str(error).partition(": ")[0]) from error
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
