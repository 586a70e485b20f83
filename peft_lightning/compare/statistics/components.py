"""Where scores vary: over reviews, over seeds, and over both together."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
# Its square, which degrees of freedom are divided by, is still a number.
LEAST_VARIANCE = 1e-100


@dataclass(frozen=True)
class Variance:
    """The variance of an estimated mean, from its parts; all arrays are of one shape."""

    reviews: Floats  # the test sample's part
    seeds: Floats  # the seeds' part, 0 where none was measured
    df: Floats  # Satterthwaite's degrees of freedom of the sum

    @property
    def total(self) -> Floats:
        """The variance over new reviews and new seeds."""
        return self.reviews + self.seeds


@dataclass(frozen=True)
class Components:
    """The crossed random effects of M methods, as the analysis of variance estimates them.

    Args:
        reviews: Number of reviews N.
        seeds: Number of seeds of each method, shape (M,).
        mean: Mean score over seeds, shape (M,).
        covariance: Covariance over reviews of the methods' seed-mean scores, shape (M, M).
        seed: Variance of a seed's mean score over all reviews there are, unbiased and so perhaps negative, shape (M,).
        residual: Variance of a single answer by a single seed beyond its review and its seed, shape (M,).
        binary: Whether answers are right or wrong, and their scores 1 or 0.
    """

    reviews: int
    seeds: Integers
    mean: Floats
    covariance: Floats
    seed: Floats
    residual: Floats
    binary: bool = True

    @classmethod
    def of(cls, scores: Mapping[str, npt.NDArray[Any]]) -> "Components":
        """Estimates the components by the two-way analysis of variance of each method (Searle et al. 1992).

        Args:
            scores: Scores of each method, bool where answers are right or wrong, shape (seeds of the method, N).

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
        return cls(n, counts, mean, centred @ centred.T / n, seed, residual, binary)

    @property
    def seeds_measured(self) -> bool:
        """Whether any method has the two seeds that it takes to see them spread."""
        return bool((self.seeds > 1).any())

    def moderated(self) -> Floats:
        """How much of each method's seed variance comes from which method's (Smyth 2004, with a fixed prior).

        Returns:
            Weights, shape (M, M), with rows that add up to 1; all 0 where no method has two seeds.
        """
        df = self.seeds - 1
        if not self.seeds_measured:
            return np.zeros((len(df), len(df)))
        # The pooled variance counts as much as the own one of a typical method; with one seed there is no own one.
        prior = df[df > 0].mean()
        pooled = (prior / (prior + df))[:, None] * (df / df.sum())
        own: Floats = pooled + np.diag(df / (prior + df))
        return own

    def of_means(self) -> Variance:
        """The variance of each method's mean score.

        Returns:
            Its parts, shape (M,).
        """
        squares = self.reviews * self.covariance.diagonal()
        if not self.binary:
            return self._with_seeds(self._over_reviews(squares), self.moderated() / self.seeds[:, None])
        # Two imagined reviews right and two wrong (Agresti and Coull 1998), around the mean that they give.
        n = self.reviews + 4
        centre = self.shrunk_mean()
        squares = squares + self.reviews * (self.mean - centre) ** 2 + 2 * centre**2 + 2 * (1 - centre) ** 2
        return self._with_seeds(squares / (n * (n - 1)), self.moderated() / self.seeds[:, None])

    def shrunk_mean(self) -> Floats:
        """Mean after two imagined reviews right and two wrong, the centre of Agresti and Coull's interval.

        Returns:
            Means, shape (M,); as they were measured where answers are not right or wrong.
        """
        if not self.binary:
            return self.mean
        return (self.reviews * self.mean + 2) / (self.reviews + 4)

    def of_differences(self, first: Integers, second: Integers) -> Variance:
        """The variance of differences between methods.

        Args:
            first: Numbers of the methods, shape (P,).
            second: Numbers of those subtracted from them, shape (P,).

        Returns:
            Its parts, shape (P,).
        """
        own = self.covariance.diagonal()
        squares = self.reviews * np.maximum(0, own[first] + own[second] - 2 * self.covariance[first, second])
        weights = self.moderated() / self.seeds[:, None]
        if not self.binary:
            return self._with_seeds(self._over_reviews(squares), weights[first] + weights[second])
        # One imagined review won by either side (Bonett and Price 2012), around the mean that they give.
        n = self.reviews + 2
        difference = self.mean[first] - self.mean[second]
        centre = difference * self.reviews / n
        squares = squares + self.reviews * (difference - centre) ** 2 + 2 + 2 * centre**2
        return self._with_seeds(squares / (n * (n - 1)), weights[first] + weights[second])

    def _over_reviews(self, squares: Floats) -> Floats:
        """The variance of a mean over reviews, from its sum of squares; never 0: nothing could be held against that."""
        variance: Floats = squares / (self.reviews * (self.reviews - 1))
        return np.maximum(variance, LEAST_VARIANCE)

    def _with_seeds(self, reviews: Floats, weights: Floats) -> Variance:
        """Adds the seeds' part, linear in the methods' components: weights of shape (…, M)."""
        seeds = np.maximum(0, weights @ self.seed)
        # What a method's seeds show is uncertain as a whole, with the residuals that are taken off again.
        shown = np.maximum(0, self.seed + self.residual / self.reviews)
        uncertain = (weights * shown) ** 2 @ (1 / np.maximum(1, self.seeds - 1)) + reviews**2 / (self.reviews - 1)
        # Residuals that methods share cancel in `reviews` and not in what the seeds show, which must not leave the sum
        # fewer degrees of freedom than the seeds themselves have.
        larger = np.maximum(reviews + seeds, weights @ shown)
        return Variance(reviews, seeds, larger**2 / uncertain)

    def expected_with(self, reviews: int | None = None, seeds: int | None = None) -> "Components":
        """What the components would be expected to be in a larger experiment.

        Args:
            reviews: Number of reviews; None for as many as there are.
            seeds: Number of seeds of every method; None for as many as each has.

        Returns:
            The components.
        """
        planned = self.seeds if seeds is None else np.full_like(self.seeds, seeds)
        # A method with a single seed borrows what the others show.
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
