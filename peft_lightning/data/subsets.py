"""The training, validation and test subsets of a run, with their baseline and fingerprint."""

from dataclasses import dataclass

import torch

from peft_lightning.data.drawing import draw_subsets
from peft_lightning.data.duplicates import Duplicates, count_duplicates
from peft_lightning.data.examples import TokenisedReviews
from peft_lightning.data.review_tokeniser import ReviewTokeniser
from peft_lightning.data.sources import Corpus
from peft_lightning.data.text_windows import TextWindows
from peft_lightning.task import Baseline


@dataclass(frozen=True)
class Subsets:
    """The reviews of a run.

    Args:
        train: The reviews to train on.
        val: The reviews to validate on.
        test: The reviews to test on.
        baseline: What a model that has learned nothing reaches on ``val``; None if the task has no baseline.
        fingerprint: A SHA-256 over the texts and labels of all three subsets.
        duplicates: Numbers of texts that occur more than once in them.
    """

    train: TokenisedReviews
    val: TokenisedReviews
    test: TokenisedReviews
    baseline: Baseline | None
    fingerprint: str
    duplicates: Duplicates

    @property
    def truncated_share(self) -> float:
        """The share of all reviews that are longer than ``max_length``."""
        return torch.cat([part.tokens.truncated for part in (self.train, self.val, self.test)]).double().mean().item()

    def windows(self, windows: TextWindows) -> int:
        """Counts the windows that the reviews to validate and test on are read in.

        Args:
            windows: Cuts the reviews.
        """
        return sum(int(windows.count(part.tokens.lengths.numpy()).sum()) for part in (self.val, self.test))


def choose_subsets(
    corpus: Corpus, n_train: int | None, n_val: int | None, n_test: int | None, seed: int, tokeniser: ReviewTokeniser
) -> Subsets:
    """Draws stratified subsets of a corpus and tokenises them.

    Args:
        corpus: A training and a test split, and a validation split if the source has its own.
        n_train: Number of reviews to train on; None for all that validation leaves.
        n_val: Number of reviews to validate on; None for all of a validation split, or else 1,000 of the training
            split, or a tenth of it if that is less.
        n_test: Number of reviews to test on; None for all.
        seed: Seed of the subsets.
        tokeniser: Tokenises the reviews.

    Raises:
        UserError: If a split is too small, or the cache folder cannot be written.
    """
    chosen = draw_subsets(corpus, n_train, n_val, n_test, seed)
    train, val, test = (
        tokeniser.tokenise(split.texts, split.rows, split.labels, trains=number == 0)
        for number, split in enumerate(chosen)
    )
    return Subsets(
        train,
        val,
        test,
        baseline=corpus.task.baseline(chosen[1].labels),
        fingerprint=tokeniser.fingerprint(corpus.task.label_names, chosen),
        duplicates=count_duplicates(*(split.texts for split in chosen)),
    )
