import itertools
import random
from typing import Any

import pytest

from peft_lightning.data import tokenisation, word_tokens
from peft_lightning.data.tokenisation import tokenise
from peft_lightning.data.truncation import HEAD_SHARE, Truncation, cut, surrounding
from peft_lightning.data.words_apart import PLAIN, SPACE_BETWEEN_WORDS, tokenises_words_apart
from tests.data.kinds_of_tokenizers import APART, LINES, WHOLE

AWKWARD = [
    "  two leading spaces and one behind ",
    " one",
    "\tfilm\n\nwas  good\u00a0and \u2003 dull \u200b film",
    "good<br /><br />dull <br> film <mask> was [MASK] </s> good",
    "the film was " + "unbelievable" * 60 + " and " + "x" * 300,
    "don 't stop ''quoted'' ``here'' it 's fine ... and , so - on ) (",
    "e\u0301 cafe\u0301 \u0301 accent ﬁlm ½ ① \uff21 \uff57ide ª ŉ ǆ İ ß Σας ς",
    "\u0000 \u0001 null and \u00ad soft \ufeff mark",
    "映画は良かった film 映画 is 悪い 한국어 영화 हिन्दी फिल्म ไทย",
    "👩‍👩‍👧 film 🎬 was 👍🏽 good 👍",
    "▁ the▁film ▁was good",
    "Это плохой фильм, и Müller's café ist schön — «да» “no” it’s… ok",
    "1 22 333 4444 1,000.50 10/10 :-) ;( !!! ???",
    "\u0001 \u0001 \u0001 film \u0001 " * 30,
    ". " * 200 + "end",
    "a",
]


def texts(seed: int) -> list[str]:
    """The awkward texts, ordinary ones, and mixtures of all their characters."""
    dice = random.Random(seed)
    words = " ".join([*LINES[:4], *AWKWARD]).split(" ")
    characters = "".join(AWKWARD)
    mixed = [" ".join(dice.choices(words, k=dice.randrange(1, 90))) for _ in range(30)]
    noise = ["".join(dice.choices(characters + "  aeiou, .", k=dice.randrange(1, 300))) for _ in range(25)]
    return [*AWKWARD, *LINES[:4], *mixed, *noise]


def expected(some: list[str], tokenizer: Any, max_length: int, truncation: Truncation) -> tuple[list[Any], list[bool]]:
    """What a tokenizer makes of whole texts, which are cut afterwards."""
    around = surrounding(tokenizer("a film", return_special_tokens_mask=True)["special_tokens_mask"])
    whole = [tokenizer(text)["input_ids"] for text in some]
    return [cut(ids, max_length, truncation, *around) for ids in whole], [len(ids) > max_length for ids in whole]


@pytest.mark.parametrize("truncation", list(HEAD_SHARE))
@pytest.mark.parametrize("kind", [*APART, *WHOLE])
def test_tokens_are_those_of_the_whole_text_cut_afterwards(
    kind: str, truncation: Truncation, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = (APART | WHOLE)[kind]()
    # The comparison of a few texts, which would hide a mistake by leaving all texts whole.
    monkeypatch.setattr(tokenisation, "_same", lambda *_: True)
    for max_length in (8, 21, 200):
        some = texts(max_length)
        tokens = tokenise(some, tokenizer, max_length, truncation)
        ends = tokens.offsets.tolist()
        got = [tokens.input_ids[a:b].tolist() for a, b in itertools.pairwise(ends)]
        ids, truncated = expected(some, tokenizer, max_length, truncation)
        assert [text for text, a, b in zip(some, got, ids, strict=True) if a != b] == []
        assert tokens.truncated.tolist() == truncated


@pytest.mark.parametrize("kind", APART)
def test_a_text_comes_apart_at_the_spaces_that_are_found(kind: str) -> None:
    """The claim itself, without the comparison that would hide a wrong one."""
    tokenizer = APART[kind]()
    assert tokenises_words_apart(tokenizer)
    for text in texts(7):
        first, *others = SPACE_BETWEEN_WORDS.split(text)
        pieces = [first, *(f" {piece}" for piece in others)]
        apart = [tokenizer(piece, add_special_tokens=False)["input_ids"] for piece in pieces]
        assert list(itertools.chain(*apart)) == tokenizer(text, add_special_tokens=False)["input_ids"], text


@pytest.mark.parametrize("kind", APART)
def test_every_plain_character_may_stand_beside_a_space(kind: str) -> None:
    tokenizer = APART[kind]()
    plain = sorted(PLAIN)
    random.Random(1).shuffle(plain)
    for before, after in zip(plain, plain[1:] + plain[:1], strict=True):
        apart = [tokenizer(part, add_special_tokens=False)["input_ids"] for part in (f"x{before}", f" {after}x")]
        assert [*apart[0], *apart[1]] == tokenizer(f"x{before} {after}x", add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("kind", WHOLE)
def test_a_tokenizer_that_looks_across_spaces_is_left_alone(kind: str) -> None:
    assert not tokenises_words_apart(WHOLE[kind]())


def test_the_tokenizers_of_the_program_tokenise_words_apart(tokenizer: Any) -> None:
    from peft_lightning.backbone.loading import load_tokenizer

    assert tokenises_words_apart(tokenizer)
    assert tokenises_words_apart(load_tokenizer("embedded"))


def test_a_class_that_changes_texts_before_its_tokenizer_sees_them_is_found_out(tokenizer: Any) -> None:
    class Shouting(type(tokenizer)):  # type: ignore[misc]
        def __call__(self, text: Any, **settings: Any) -> Any:
            words = [word.replace("film", "plot") for word in ([text] if isinstance(text, str) else text)]
            return super().__call__(words[0] if isinstance(text, str) else words, **settings)

    changed = Shouting.from_pretrained(tokenizer.name_or_path)
    some = [f"the film number {n} was good" for n in range(100)]
    assert tokenises_words_apart(changed)
    tokens = tokenise(some, changed, 32)
    whole = [tokenizer(text.replace("film", "plot"))["input_ids"] for text in some]
    assert tokens.input_ids.tolist() == list(itertools.chain(*whole))


def test_words_that_are_forgotten_are_learned_anew(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_tokens, "_MOST_PIECES", 20)
    monkeypatch.setattr(tokenisation, "_TEXTS_AT_ONCE", 7)
    some = texts(3)
    tokens = tokenise(some, tokenizer, 40)
    assert tokens.input_ids.tolist() == list(itertools.chain(*expected(some, tokenizer, 40, "head")[0]))
