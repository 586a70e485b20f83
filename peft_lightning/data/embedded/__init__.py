"""The embedded corpus, which needs no download: film reviews composed from written clauses with a fixed seed."""

from peft_lightning.data.embedded.composed_reviews import CLASS_NAMES, REVIEWS, EmbeddedReviews, Split, load_split

__all__ = ["CLASS_NAMES", "REVIEWS", "EmbeddedReviews", "Split", "load_split"]
