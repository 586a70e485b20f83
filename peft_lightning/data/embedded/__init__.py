"""The corpus that needs no download: film reviews composed, with a fixed seed, from clauses written for it."""

from peft_lightning.data.embedded.composed_reviews import CLASS_NAMES, REVIEWS, EmbeddedReviews, Split, load_split

__all__ = ["CLASS_NAMES", "REVIEWS", "EmbeddedReviews", "Split", "load_split"]
