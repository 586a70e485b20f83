"""The variance components of scores: over reviews, over seeds, and the residual of both."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from peft_lightning.compare.statistics.kurtosis import df_of_kurtosis, kurtosis_of_differences

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Components:
    """The crossed random effects of M methods, as the analysis of variance estimates them.

    Args:
        reviews: Number of reviews N.
        seeds: Number of seeds of each method, shape (M,).
        mean: Mean score over seeds, shape (M,).
        covariance: Covariance over reviews of the methods' seed-mean scores, shape (M, M).
        seed: Variance over seeds of the mean score on a population of reviews; unbiased, so it can be negative; shape
            (M,).
        residual: Variance of a single answer beyond the effects of its review and its seed, shape (M,).
        binary: Whether answers are right or wrong, with scores of 1 or 0.
        kurtosis: Kurtosis over reviews of the methods' seed-mean pseudo-values, on the diagonal, and of the differences
            of two methods, shape (M, M); None for scores.
    """

    reviews: int
    seeds: Integers
    mean: Floats
    covariance: Floats
    seed: Floats
    residual: Floats
    binary: bool = True
    kurtosis: Floats | None = None

    @classmethod
    def of(cls, scores: Mapping[str, npt.NDArray[Any]], pseudo: bool = False) -> "Components":
        """Estimates the components by the two-way analysis of variance of each method (Searle et al. 1992).

        Args:
            scores: Scores of each method, bool if answers are right or wrong, shape (seeds of the method, N).
            pseudo: Whether they are pseudo-values of a metric that is no mean of scores; left out if they are bool.

        Returns:
            The components, methods in the order of the mapping.
        """
        n = next(iter(scores.values())).shape[1]
        binary = all(answers.dtype == np.bool_ for answers in scores.values())
        counts = np.array([len(answers) for answers in scores.values()])
        by_review = np.stack([answers.mean(axis=0) for answers in scores.values()])
        mean = by_review.mean(axis=1)
        centred = by_review - mean[:, None]
        seed, residual = np.zeros(len(scores)), np.zeros(len(scores))
        for number, answers in enumerate(scores.values()):
            if (seeds := len(answers)) > 1:
                if binary:
                    # Answers are 0 or 1, so the squares within a review are those of a binomial.
                    within = seeds * float((by_review[number] * (1 - by_review[number])).sum())
                else:
                    within = float(((answers - by_review[number]) ** 2).sum())
                between = n * float(((answers.mean(axis=1) - mean[number]) ** 2).sum())
                residual[number] = max(0.0, within - between) / ((seeds - 1) * (n - 1))
                seed[number] = (between / (seeds - 1) - residual[number]) / n
        kurtosis = kurtosis_of_differences(centred) if pseudo and not binary else None
        return cls(n, counts, mean, centred @ centred.T / n, seed, residual, binary, kurtosis)

    @property
    def seeds_measured(self) -> bool:
        """Whether any method has two seeds or more, so that their spread can be estimated."""
        return bool((self.seeds > 1).any())

    def moderated(self) -> Floats:
        """Returns the weights that moderate each method's seed variance (Smyth 2004, with a fixed prior).

        Returns:
            The weight of every method's variance in that of each, shape (M, M). Rows add up to 1; all are 0 if no
            method has two seeds.
        """
        df = self.seeds - 1
        if not self.seeds_measured:
            return np.zeros((len(df), len(df)))
        # For a typical method the pooled variance counts as much as its own. A method with one seed has no own one.
        prior = df[df > 0].mean()
        pooled = (prior / (prior + df))[:, None] * (df / df.sum())
        own: Floats = pooled + np.diag(df / (prior + df))
        return own

    def moderated_row(self, row: int) -> Floats:
        """Returns a row of ``moderated``, of shape (M,)."""
        df = self.seeds - 1
        if not self.seeds_measured:
            return np.zeros(len(df))
        prior = df[df > 0].mean()
        weights: Floats = (prior / (prior + df[row])) * (df / df.sum())
        weights[row] += df[row] / (prior + df[row])
        return weights

    def df_of_reviews(self, first: Integers, second: Integers) -> Floats | None:
        """Returns the degrees of freedom of the variance over reviews of pseudo-values.

        Few reviews decide a metric such as the F1 of a rare class, and their variance is known as badly as that of few.
        Where the kurtosis is K, a variance of N values is as uncertain as one of 2 N / (K − 1) normal ones.

        Args:
            first: Indices of methods, shape (P,).
            second: Indices of the methods that are subtracted from them; the same for the methods themselves.

        Returns:
            The degrees of freedom, at most N − 1, shape (P,); None for scores, which have N − 1.
        """
        return None if self.kurtosis is None else df_of_kurtosis(self.kurtosis[first, second], self.reviews)

    def expected_with(self, reviews: int | None = None, seeds: int | None = None) -> "Components":
        """Returns the components to expect in a larger experiment.

        Args:
            reviews: Number of reviews; None for the number here.
            seeds: Number of seeds of every method; None for the number that each has.
        """
        planned = self.seeds if seeds is None else np.full_like(self.seeds, seeds)
        # A method with a single seed takes the components of the others.
        alone = (self.seeds == 1)[:, None]
        weights = np.where(alone, self.moderated(), np.eye(len(self.seeds)))
        residual = weights @ self.residual
        covariance = self.covariance + np.diag(residual / planned - residual / self.seeds)
        return dataclasses.replace(
            self,
            reviews=self.reviews if reviews is None else reviews,
            seeds=planned,
            covariance=covariance,
            seed=weights @ self.seed,
            residual=residual,
        )
