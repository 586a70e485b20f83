"""Comparisons whose truth is known: methods, seeds and reviews drawn from a latent model of difficulty."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

ACCURACY = 0.885
# Shares of reviews on which two trained models disagree: two seeds of a method, two methods.
WITHIN, BETWEEN = 0.07, 0.09
REVIEWS = 2000


class Simulated(NamedTuple):
    """Comparisons of M methods with S seeds on N reviews, n of them."""

    correct: npt.NDArray[np.bool_]  # (n, M, S, N)
    trained: npt.NDArray[np.float64]  # (n, M, S): the accuracy of each trained model over all reviews there are
    on_reviews: npt.NDArray[np.float64] | None  # (n, M): the accuracy over all seeds there are on these reviews


@cache
def correlation(disagreement: float) -> float:
    """The correlation of two latent answers that are right with ACCURACY each and disagree that often."""
    cut = special.ndtri(ACCURACY)

    def excess(rho: float) -> float:
        both = stats.multivariate_normal.cdf([cut, cut], cov=[[1, rho], [rho, 1]])
        return float(2 * (ACCURACY - both) - disagreement)

    return float(optimize.brentq(excess, 0.01, 0.9999))


class Latent:
    """One set of difficulties, to be answered by methods of any accuracy: an answer is right where the sum of the
    review's ease for all, for this method and for this trained model exceeds what the method's accuracy asks."""

    def __init__(self, rng: np.random.Generator, n: int, methods: int, seeds: int, reviews: int) -> None:
        rho_within, rho_between = correlation(WITHIN), correlation(BETWEEN)

        def normal(*shape: int, variance: float) -> npt.NDArray[np.float32]:
            return rng.standard_normal(shape, dtype=np.float32) * np.float32(variance**0.5)

        self.method_ease = normal(n, 1, 1, reviews, variance=rho_between)
        self.method_ease = self.method_ease + normal(n, methods, 1, reviews, variance=rho_within - rho_between)
        self.ease = normal(n, methods, seeds, reviews, variance=1 - rho_within)
        self.ease += self.method_ease
        self.seed = rng.standard_normal((n, methods, seeds))
        self.noise = 1 - rho_within

    def answers(
        self, accuracies: Sequence[float] | np.ndarray, seed_sd: Sequence[float], on_reviews: bool = False
    ) -> Simulated:
        """Methods of exactly these expected accuracies, whose seeds' accuracies have these standard deviations."""
        cut = special.ndtri(accuracies)
        # A shift on the latent scale moves the accuracy by the density at the cut.
        shift = np.array(seed_sd) / stats.norm.pdf(cut)
        cut = cut * np.sqrt(1 + shift**2)
        level = cut[:, None] + self.seed * shift[:, None]
        expected = None
        if on_reviews:
            scale = np.sqrt(self.noise + shift**2)[:, None]
            expected = special.ndtr((self.method_ease[:, :, 0] + cut[:, None]) / scale).mean(axis=-1)
        return Simulated(self.ease > -level[..., None].astype(np.float32), special.ndtr(level), expected)


def answers(methods: int = 3, seeds: int = 4, reviews: int = 50) -> dict[str, np.ndarray]:
    """Right and wrong answers of some methods to the same reviews, shape (seeds, reviews) each."""
    rng = np.random.default_rng(0)
    ease = rng.standard_normal((methods + 1, reviews))
    return {
        name: ease[-1] + own + rng.standard_normal((seeds, reviews)) + rng.standard_normal((seeds, 1)) > -1
        for name, own in zip("abcdef", ease[:methods], strict=False)
    }


def simulated(accuracies: list[float], seeds: int = 3, sd: float = 0.005, rng: int = 0) -> dict[str, np.ndarray]:
    """Right and wrong answers of one comparison of methods of these accuracies, shape (seeds, REVIEWS) each."""
    latent = Latent(np.random.default_rng(rng), 1, len(accuracies), seeds, REVIEWS)
    answers = latent.answers(accuracies, [sd] * len(accuracies)).correct[0]
    return dict(zip("abcdefgh", answers, strict=False))
