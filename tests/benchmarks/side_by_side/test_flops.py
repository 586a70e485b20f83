"""The floor's arithmetic, against counts by hand."""

from __future__ import annotations

import pytest

from side_by_side.flops import Encoder, optimizer_bytes, trained_parameters, training_flops

ROBERTA_BASE = Encoder(layers=12, hidden=768, feedforward=3072, parameters=124_647_170)


@pytest.mark.parametrize(
    ("method", "count"), [("full", 124_647_170), ("lora", 1_181_954), ("qlora", 1_034_498), ("ia3", 656_642)]
)
def test_what_is_trained_is_what_the_study_trains(method: str, count: int) -> None:
    assert trained_parameters(ROBERTA_BASE, method) == count  # type: ignore[arg-type]


def test_full_fine_tuning_of_one_layer_by_hand() -> None:
    tiny = Encoder(layers=1, hidden=2, feedforward=4, parameters=100)
    # One review of 3 tokens. Weights: 4 of 2x2 and 2 of 2x4, so 32 entries, 64 operations a token. Attention: scores
    # and mixing, each 2 * 3 * 3 * 2. The head: 2 * 2 * 2. All of it three times: forward, and backward twice over.
    assert training_flops(tiny, "full", [3]) == 3 * (64 * 3 + 2 * 36 + 8)


def test_frozen_weights_have_no_gradient_and_the_first_layer_passes_none_down() -> None:
    tiny = Encoder(layers=1, hidden=2, feedforward=4, parameters=100)
    full, ia3 = (training_flops(tiny, method, [3]) for method in ("full", "ia3"))
    # Left out: the weights' own gradients (64 a token), inputs of query, key and value (24), one gradient of scores.
    assert full - ia3 == (64 + 24) * 3 + 36


def test_a_longer_review_costs_more_than_two_short_ones() -> None:
    assert training_flops(ROBERTA_BASE, "lora", [256]) > training_flops(ROBERTA_BASE, "lora", [128, 128])


def test_eight_bit_moments_move_fewer_bytes() -> None:
    assert optimizer_bytes(ROBERTA_BASE, "full", False) == 28 * 124_647_170
    assert optimizer_bytes(ROBERTA_BASE, "full", True) == 16 * 124_647_170
