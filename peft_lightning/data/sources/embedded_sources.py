"""The sources that the package carries: the embedded corpus, and its variants for other tasks."""

from collections.abc import Callable
from typing import Literal

from peft_lightning.data.sources.corpus import RawSplit
from peft_lightning.data.sources.text_pairs import TextPairs
from peft_lightning.errors import Setting, UserError

EmbeddedSplit = Literal["train", "test"]
PAIRS = "embedded/pairs"
# What predict reads the second texts from for a model of the pairs here, whose columns nobody has named.
SECOND_COLUMN = "text_pair"


def _reviews(split: EmbeddedSplit) -> RawSplit:
    from peft_lightning.data.embedded import CLASS_NAMES, EmbeddedReviews

    reviews = EmbeddedReviews(split)
    return RawSplit(_named(split), reviews, list(reviews.labels), list(CLASS_NAMES))


def _passages(split: EmbeddedSplit) -> RawSplit:
    from peft_lightning.data.embedded.variants import PASSAGES, Passages

    texts = Passages(split)
    return RawSplit(_named(split), texts, list(texts.labels), list(PASSAGES))


def _stars(split: EmbeddedSplit) -> RawSplit:
    from peft_lightning.data.embedded.variants import Stars

    texts = Stars(split)
    return RawSplit(_named(split), texts, list(texts.labels))


def _preferences(split: EmbeddedSplit) -> RawSplit:
    from peft_lightning.data.embedded.variants import PREFERENCES, Preferences

    pairs = Preferences(split)
    return RawSplit(_named(split), TextPairs(pairs.first, pairs.second), list(pairs.labels), list(PREFERENCES))


def _named(split: EmbeddedSplit) -> str:
    return f"the embedded corpus ({split})"


# What reads a split of each source, by the source's name.
EMBEDDED: dict[str, Callable[[EmbeddedSplit], RawSplit]] = {
    "embedded": _reviews,
    "embedded/multi_label": _passages,
    "embedded/regression": _stars,
    PAIRS: _preferences,
}


def read_embedded(source: str, split: EmbeddedSplit, text_pair_column: str | None) -> RawSplit:
    """Reads a split of a source that the package carries.

    Args:
        source: Its name.
        split: The split.
        text_pair_column: The column of second texts that the user names, of which there is none here.

    Raises:
        UserError: If a column is named.
    """
    if text_pair_column is not None:
        raise UserError(
            f"{source} has no columns ({PAIRS} has pairs of texts by itself): leave out ",
            Setting("data.text_pair_column"),
        )
    return EMBEDDED[source](split)
