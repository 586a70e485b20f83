import pytest

from peft_lightning.compare.report.label_words import LETTERS, label_in_short, label_name, name_in_short, plural, width
from peft_lightning.task import MultiLabel, SingleLabel


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("joy", "joy"),
        ("=sum\n of\tlines", "=sum of lines"),
        ("$5$ <b>", "$5$ <b>"),
        ("", "(empty)"),
        ("a\u202eb", "a\\u202eb"),
        ("x" * 30, "x" * (LETTERS - 1) + "…"),
        ("喜" * 12, "喜" * 12),
        ("喜" * 20, "喜" * 11 + "…"),
    ],
)
def test_a_name_is_one_line_that_a_picture_has_room_for(name: str, short: str) -> None:
    assert name_in_short(name) == short
    assert width(name_in_short(name)) <= LETTERS
    assert label_in_short(MultiLabel((name, "b")), 0) == short


def test_classes_without_names_have_their_numbers() -> None:
    assert label_name(SingleLabel(("class 0", "class 1"), named=False), 1) == "class 1"
    assert (plural("class"), plural("label")) == ("classes", "labels")
