"""The reviews that every peer trains on, and what is in their batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from peft_lightning.data.sampling import draw_test, draw_training_and_validation
from peft_lightning.data.sources import read_corpus
from peft_lightning.data.sources.text_pairs import in_one
from side_by_side.peer_job import PeerJob

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The seed of `configs/study/*.yaml`: it picks the reviews.
DATA_SEED = 42
# Drawn beside the training reviews and not looked at: `fit` cannot do without.
N_VAL = 16


@dataclass(frozen=True)
class Reviews:
    """Texts and their classes."""

    texts: list[str]
    labels: list[int]


def read_reviews(job: PeerJob) -> tuple[Reviews, Reviews]:
    """Reads the reviews that `fit` with `--data.seed 42` trains and tests on.

    Args:
        job: how many, and where they are.

    Returns:
        Those to train on and those to test on.
    """
    corpus = read_corpus(job.reviews, "text", "label", DATA_SEED)
    train, _ = draw_training_and_validation(corpus.train.labels, job.n_train, N_VAL, DATA_SEED)
    chosen = corpus.train.take(train)
    test = corpus.test.take(draw_test(corpus.test.labels, job.n_test, DATA_SEED))
    return (
        Reviews(list(map(in_one, chosen.texts)), chosen.labels.tolist()),
        Reviews(list(map(in_one, test.texts)), test.labels.tolist()),
    )


def load_tokenizer(backbone: str) -> PreTrainedTokenizerBase:
    """Loads the tokenizer of a folder; it pads on the right, with the end-of-text token if with no other."""
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(backbone, padding_side="right")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def token_ids(job: PeerJob, reviews: Reviews, tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Tokenises reviews, cut to the job's length and not padded; a decoder's text ends in the end-of-text token.

    Args:
        job: the length, and whose recipes are trained.
        reviews: the reviews.
        tokenizer: the backbone's.
    """
    ends = [tokenizer.eos_token_id] if job.recipes == "decoder" else []
    encoded = tokenizer(reviews.texts, truncation=True, max_length=job.max_length - len(ends))
    return [[*ids, *ends] for ids in encoded["input_ids"]]


def token_counts(reviews: Reviews, tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[int]:
    """Counts each review's tokens, cut to `max_length`, without padding."""
    encoded = tokenizer(reviews.texts, truncation=True, max_length=max_length)
    return [len(ids) for ids in encoded["input_ids"]]


def count_reviews(reviews: str) -> int:
    """Counts the reviews that there are to train on.

    Args:
        reviews: folder or file, as `--data.source` takes it.
    """
    return len(read_corpus(reviews, "text", "label", DATA_SEED).train.labels) - N_VAL


def mean_tokens(job: PeerJob) -> float:
    """The mean tokens of the reviews that a job trains on, cut to its length and without padding.

    Args:
        job: which reviews, how long, and whose tokenizer.
    """
    counts = list(map(len, token_ids(job, read_reviews(job)[0], load_tokenizer(job.backbone))))
    return sum(counts) / len(counts)
