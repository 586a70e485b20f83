from pathlib import Path

import pytest

from peft_lightning.errors import UserError
from peft_lightning.module.text_settings import TextSettings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("so \ud83d", r"texts\[1\] has half of a character, \\ud83d"),
        (" \n", r"the text in texts\[1\] is blank"),
        (None, r"texts\[1\] has no text"),
        (3, r"the text in texts\[1\] is a int, not text"),
    ],
)
def test_a_text_that_no_tokenizer_takes_is_named(text: str, message: str, tmp_path: Path) -> None:
    settings = TextSettings("embedded", None, 32, "head", str(tmp_path), "32-true")
    with pytest.raises(UserError, match=message):
        list(settings.batches(["a joy", text], 2))
