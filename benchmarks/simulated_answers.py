"""Answers of recipes whose every metric is known: drawn from a latent model of difficulty, with its exact metrics.

A text is hard for all recipes, a little for one recipe, and a little for one trained model. A trained model tells
classes apart, or meets numbers, better or worse by its seed, and leans to one side by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
Answers = tuple[npt.NDArray[np.generic], Floats]

# Shares of the latent variance that are the text's for all, the text's for one recipe, and of one trained model.
EASE, OWN_EASE = 0.6, 0.15
# How far apart the classes are, in standard deviations from the middle; where the middle is cut.
STRENGTH, CUT = 1.2, 0.4
SLOPE, NOISE, LEAN = 0.9, 0.7, 0.3
# Nodes of a quadrature over what seeds do.
NODES = 13


@dataclass(frozen=True)
class Recipes:
    """Some recipes, each trained with some seeds and tested on the same texts.

    Args:
        strengths: How well each recipe does, as a factor; 1 for the usual.
        seeds: Seeds of each.
        texts: Test texts.
        spread: Standard deviation of what seeds do to strength and leaning.
        share: Share of texts of the second class.
    """

    strengths: tuple[float, ...]
    seeds: int
    texts: int
    spread: float
    share: float

    def classes(self, rng: np.random.Generator) -> Answers:
        """Draws classes, shape (texts,), and probabilities, shape (recipes, seeds, texts, 2)."""
        truth = (rng.random(self.texts) < self.share).astype(np.int64)
        strength = STRENGTH * np.array(self.strengths)[:, None, None] + self._of_seeds(rng)
        found = self._ease(rng) + strength * (2 * truth - 1) + self._of_seeds(rng) - CUT
        yes = special.expit(2 * found)
        return truth, np.stack([1 - yes, yes], axis=-1)

    def numbers(self, rng: np.random.Generator) -> Answers:
        """Draws numbers, shape (texts,), and answers, shape (recipes, seeds, texts)."""
        truth = rng.standard_normal(self.texts)
        noise = NOISE / np.array(self.strengths)[:, None, None] * np.exp(self._of_seeds(rng))
        return truth, SLOPE * truth + noise * self._ease(rng) + LEAN * self._of_seeds(rng)

    def _of_seeds(self, rng: np.random.Generator) -> Floats:
        return self.spread * rng.standard_normal((len(self.strengths), self.seeds, 1))

    def _ease(self, rng: np.random.Generator) -> Floats:
        recipes, alone = len(self.strengths), 1 - EASE - OWN_EASE
        ease = EASE**0.5 * rng.standard_normal(self.texts)
        ease = ease + OWN_EASE**0.5 * rng.standard_normal((recipes, 1, self.texts))
        each: Floats = ease + alone**0.5 * rng.standard_normal((recipes, self.seeds, self.texts))
        return each

    def metrics_of_classes(self) -> dict[str, Floats]:
        """Returns each metric over all texts and seeds there are, shape (recipes,)."""
        return _over_recipes([self._of_classes(STRENGTH * strength) for strength in self.strengths])

    def metrics_of_numbers(self) -> dict[str, Floats]:
        """Returns each metric over all texts and seeds there are, shape (recipes,)."""
        return _over_recipes([self._of_numbers(NOISE / strength) for strength in self.strengths])

    def _of_classes(self, strength: float) -> dict[str, float]:
        nodes, weights = _quadrature()
        strengths, leaning = strength + self.spread * nodes[:, None], self.spread * nodes[None, :]
        found, alarms = (special.ndtr(sign * strengths + leaning - CUT) for sign in (1, -1))
        right, wrong = self.share * found, (1 - self.share) * alarms
        missed, passed = self.share - right, 1 - self.share - wrong
        of_yes = 2 * right / (2 * right + missed + wrong)
        of_no = 2 * passed / (2 * passed + missed + wrong)
        product = (right + wrong) * self.share * (1 - self.share) * (passed + missed)
        areas = [
            np.mean([_precision_area(each, share) for share in (self.share, 1 - self.share)])
            for each in strengths.ravel().tolist()
        ]
        exact = {
            "acc": right + passed,
            "balanced_acc": (found + 1 - alarms) / 2,
            "f1": (of_yes + of_no) / 2,
            "f1.yes": of_yes,
            "mcc": (right * passed - missed * wrong) / np.sqrt(product),
            "auroc": special.ndtr(2**0.5 * strengths),
            "pr_auc": np.array(areas)[:, None],
        }
        return {key: float(weights @ np.broadcast_to(value, (NODES, NODES)) @ weights) for key, value in exact.items()}

    def _of_numbers(self, noise: float) -> dict[str, float]:
        nodes, weights = _quadrature()
        size, bias = noise * np.exp(self.spread * nodes[:, None]), LEAN * self.spread * nodes[None, :]
        squares = (1 - SLOPE) ** 2 + size**2
        correlation = SLOPE / np.sqrt(SLOPE**2 + size**2)
        folded = np.sqrt(2 * squares / np.pi) * np.exp(-(bias**2) / (2 * squares))
        exact = {
            "mae": folded + bias * (1 - 2 * special.ndtr(-bias / np.sqrt(squares))),
            "rmse": np.sqrt(squares + bias**2),
            "r2": 1 - squares - bias**2,
            "pearson": correlation,
            "spearman": 6 / np.pi * np.arcsin(correlation / 2),
        }
        return {key: float(weights @ np.broadcast_to(value, (NODES, NODES)) @ weights) for key, value in exact.items()}


def _over_recipes(each: list[dict[str, float]]) -> dict[str, Floats]:
    return {key: np.array([of[key] for of in each]) for key in each[0]}


def _quadrature() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return nodes, weights / weights.sum()


def _precision_area(strength: float, share: float) -> float:
    """Returns the area under the precision-recall curve of two normal classes, ``share`` of them positive."""
    cuts = np.linspace(-10, 10, 2001)
    positive, others = (side * special.ndtr(sign * strength - cuts) for side, sign in ((share, 1), (1 - share, -1)))
    density = np.exp(-((cuts - strength) ** 2) / 2) / np.sqrt(2 * np.pi)
    precision = positive / np.maximum(positive + others, 1e-300)
    return float((precision * density).sum() * (cuts[1] - cuts[0]))
