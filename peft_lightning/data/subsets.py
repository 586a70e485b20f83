"""The reviews that a run trains on, validates on and tests on, and what can be said of them together."""

from dataclasses import dataclass

import torch

from peft_lightning.data.examples import TokenisedReviews
from peft_lightning.data.review_tokeniser import ReviewTokeniser
from peft_lightning.data.sampling import check_sizes, draw_test, draw_training_and_validation
from peft_lightning.data.sources import Corpus, fingerprint
from peft_lightning.task import Baseline


@dataclass(frozen=True)
class Subsets:
    """The reviews of a run.

    Args:
        train: those to train on.
        val: those to validate on.
        test: those to test on.
        baseline: what a model reaches on `val` that has learned nothing; None where that says little.
        fingerprint: a SHA-256 over the texts and labels of all three.
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
        corpus: a training and a test split.
        n_train: reviews to train on; None takes all that validation leaves.
        n_val: reviews to validate on; None is the smaller of 1,000 and a tenth of the training split.
        n_test: reviews to test on; None takes all.
        seed: the seed of the subsets.
        tokeniser: makes token ids of them.

    Returns:
        The subsets.

    Raises:
        UserError: a split is too small, or what is tokenised cannot be kept.
    """
    check_sizes(len(corpus.train.labels), len(corpus.test.labels), n_train, n_val, n_test)
    strata = corpus.task.strata
    training, validation = draw_training_and_validation(strata(corpus.train.labels), n_train, n_val, seed)
    testing = draw_test(strata(corpus.test.labels), n_test, seed)
    chosen = [corpus.train.take(training), corpus.train.take(validation), corpus.test.take(testing)]
    train, val, test = (tokeniser.tokenise(list(split.texts), split.rows, split.labels) for split in chosen)
    return Subsets(
        train,
        val,
        test,
        baseline=corpus.task.baseline(corpus.train.labels[validation]),
        fingerprint=fingerprint(corpus.task.label_names, chosen),
    )
