from typing import Any

from peft_lightning.data.token_key import tokenised_key, tokenizer_identity
from tests.data.test_tokenisation import TEXTS


def test_the_key_tells_apart_what_changes_the_ids_and_nothing_else(tokenizer: Any, tokenizer_folder: str) -> None:
    from peft_lightning.backbone.loading import load_tokenizer

    identity = tokenizer_identity(tokenizer)
    key = tokenised_key(TEXTS, identity, 12)
    tokenizer(TEXTS, truncation=True, padding="max_length", max_length=20)
    again = load_tokenizer(tokenizer_folder)
    assert tokenizer_identity(tokenizer) == tokenizer_identity(again) == identity
    again.add_special_tokens({"additional_special_tokens": ["<film>"]})
    others = [
        tokenised_key(TEXTS, identity, 13),
        tokenised_key(TEXTS[:3], identity, 12),
        tokenised_key([TEXTS[0] + TEXTS[1], *TEXTS[2:]], identity, 12),
        tokenised_key(TEXTS, tokenizer_identity(again), 12),
    ]
    assert len({key, *others}) == 5
