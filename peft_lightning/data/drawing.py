"""Draws a run's training, validation and test rows from a corpus."""

from peft_lightning.data.sampling import check_sizes, draw_apart, draw_test, draw_training_and_validation
from peft_lightning.data.sources.corpus import Corpus, Split


def draw_subsets(
    corpus: Corpus, n_train: int | None, n_val: int | None, n_test: int | None, seed: int
) -> tuple[Split, Split, Split]:
    """Draws stratified subsets of a corpus.

    Args:
        corpus: A training and a test split, and a validation split if the source has its own.
        n_train: Number of rows to train on; None for all that validation leaves.
        n_val: Number of rows to validate on; None for all of a validation split, or else 1,000 of the training split,
            or a tenth of it if that is less.
        n_test: Number of rows to test on; None for all.
        seed: Seed of the subsets.

    Returns:
        The training, the validation and the test rows.

    Raises:
        UserError: If a split is too small.
    """
    own = corpus.val
    val_rows = None if own is None else len(own.labels)
    check_sizes(len(corpus.train.labels), len(corpus.test.labels), n_train, n_val, n_test, val_rows)
    strata = corpus.task.strata
    testing = draw_test(strata(corpus.test.labels), n_test, seed)
    if own is None:
        training, validation = draw_training_and_validation(strata(corpus.train.labels), n_train, n_val, seed)
    else:
        training, validation = draw_apart(strata(corpus.train.labels), strata(own.labels), n_train, n_val, seed)
    return corpus.train.take(training), (own or corpus.train).take(validation), corpus.test.take(testing)
