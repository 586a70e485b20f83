import json

import pytest

from peft_lightning.serving.requests import Asked, BadRequest, read_request

JSON = "application/json; charset=utf-8"


def test_one_text_and_several_are_read_as_they_are() -> None:
    assert read_request(JSON, b'{"text": " a \\u00fc "}', 3) == Asked([" a ü "], single=True)
    assert read_request(JSON, '{"texts": ["ü", "b"]}'.encode(), 3) == Asked(["ü", "b"], single=False)


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"", 400, "not JSON"),
        (b"nope", 400, "not JSON"),
        (b'{"text": NaN}', 400, "NaN is no JSON"),
        (b'{"text": -Infinity}', 400, "-Infinity is no JSON"),
        (b"[" * 100_000, 400, "nested too deeply"),
        (b"\xff\xfe", 400, "not UTF-8 (byte 0)"),
        (b"[]", 422, "not as expected"),
        (b"{}", 422, "not as expected"),
        (b'{"text": "a", "texts": ["b"]}', 422, "not as expected"),
        (b'{"inputs": "a"}', 422, "not as expected"),
        (b'{"text": 5}', 422, "text is no string"),
        (b'{"text": null}', 422, "text is no string"),
        (b'{"text": ["a"]}', 422, "text is no string"),
        (b'{"text": " \\n "}', 422, "text is blank"),
        (b'{"text": "\\ud83d"}', 422, "half of a character"),
        (b'{"texts": []}', 422, "texts is empty"),
        (b'{"texts": "a"}', 422, "texts is no list"),
        (b'{"texts": ["a", ""]}', 422, "texts[1] is blank"),
        (b'{"texts": ["a", 1.5]}', 422, "texts[1] is no string"),
        (json.dumps({"texts": ["a"] * 4}).encode(), 413, "at most 3"),
    ],
)
def test_what_cannot_be_answered_is_named(body: bytes, status: int, word: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_request(JSON, body, 3)
    assert refused.value.status == status
    assert word in str(refused.value)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_another_content_type_is_refused_so_that_no_page_elsewhere_can_ask(kind: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_request(kind, b'{"text": "a"}', 3)
    assert refused.value.status == 415


def test_pairs_are_read_where_the_model_takes_them() -> None:
    one = b'{"text": "a", "text_pair": " \\u00fc "}'
    assert read_request(JSON, one, 3, in_pairs=True) == Asked([("a", " ü ")], single=True)
    many = b'{"texts": [{"text": "a", "text_pair": "b"}, {"text_pair": "d", "text": "c"}]}'
    assert read_request(JSON, many, 3, in_pairs=True) == Asked([("a", "b"), ("c", "d")], single=False)
    # A folder that does not say what it was trained on takes either, and not both in one request.
    assert read_request(JSON, one, 3, in_pairs=None).texts == [("a", " ü ")]
    assert read_request(JSON, b'{"text": "a"}', 3, in_pairs=None).texts == ["a"]
    for mixed in (
        b'{"texts": ["a", {"text": "a", "text_pair": "b"}]}',
        b'{"texts": [{"text": "a", "text_pair": "b"}, "a"]}',
    ):
        with pytest.raises(BadRequest, match=r"texts\[1\] is"):
            read_request(JSON, mixed, 3, in_pairs=None)


@pytest.mark.parametrize(
    ("body", "in_pairs", "word"),
    [
        (b'{"text": "a"}', True, 'no pair of texts, which this model takes: send {"text": "…", "text_pair": "…"}'),
        (b'{"texts": ["a"]}', True, "texts[0] is no pair of texts"),
        (b'{"texts": [["a", "b"]]}', True, "texts[0] is no pair of texts"),
        (b'{"texts": [{"text": "a"}]}', True, "texts[0] is no pair of texts"),
        (b'{"text_pair": "a"}', True, "not as expected"),
        (b'{"text": "a", "text_pair": " "}', True, "text_pair is blank"),
        (b'{"text": 5, "text_pair": "a"}', True, "text is no string"),
        (b'{"texts": [{"text": "a", "text_pair": "\\ud83d"}]}', True, "texts[0].text_pair"),
        (b'{"text": "a", "text_pair": "b"}', False, "is a pair of texts, and this model takes single ones"),
        (b'{"texts": ["a", {"text": "a", "text_pair": "b"}]}', False, "texts[1] is a pair of texts"),
        (b'{"texts": [{"text": "a"}]}', False, "texts[0] is no string"),
    ],
)
def test_a_pair_and_a_single_text_are_not_taken_for_one_another(body: bytes, in_pairs: bool, word: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_request(JSON, body, 3, in_pairs)
    assert refused.value.status == 422
    assert word in str(refused.value)
