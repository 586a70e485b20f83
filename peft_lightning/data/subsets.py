"""The training, validation and test subsets of a run, with their baseline and fingerprint."""

from dataclasses import dataclass

import torch

from peft_lightning.data.examples import TokenisedReviews
from peft_lightning.data.review_tokeniser import ReviewTokeniser
from peft_lightning.data.sampling import check_sizes, draw_test, draw_training_and_validation
from peft_lightning.data.sources import Corpus
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
    """

    train: TokenisedReviews
    val: TokenisedReviews
    test: TokenisedReviews
    baseline: Baseline | None
    fingerprint: str

    @property
    def truncated_share(self) -> float:
        """The share of all reviews that were cut."""
        return torch.cat([part.tokens.truncated for part in (self.train, self.val, self.test)]).double().mean().item()


def choose_subsets(
    corpus: Corpus, n_train: int | None, n_val: int | None, n_test: int | None, seed: int, tokeniser: ReviewTokeniser
) -> Subsets:
    """Draws stratified subsets of a corpus and tokenises them.

    Args:
        corpus: A training and a test split.
        n_train: Number of reviews to train on; None for all that validation leaves.
        n_val: Number of reviews to validate on; None for 1,000, or a tenth of the training split if that is less.
        n_test: Number of reviews to test on; None for all.
        seed: Seed of the subsets.
        tokeniser: Tokenises the reviews.

    Raises:
        UserError: If a split is too small, or the cache folder cannot be written.
    """
    check_sizes(len(corpus.train.labels), len(corpus.test.labels), n_train, n_val, n_test)
    strata = corpus.task.strata
    training, validation = draw_training_and_validation(strata(corpus.train.labels), n_train, n_val, seed)
    testing = draw_test(strata(corpus.test.labels), n_test, seed)
    chosen = [corpus.train.take(training), corpus.train.take(validation), corpus.test.take(testing)]
    train, val, test = (tokeniser.tokenise(split.texts, split.rows, split.labels) for split in chosen)
    return Subsets(
        train,
        val,
        test,
        baseline=corpus.task.baseline(corpus.train.labels[validation]),
        fingerprint=tokeniser.fingerprint(corpus.task.label_names, chosen),
    )
