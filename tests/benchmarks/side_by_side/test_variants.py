"""The HF Trainer's variants."""

from __future__ import annotations

from peers.hf_variants import read_variant, variants_to_try


def test_a_name_tells_a_variant_from_all_others() -> None:
    variants = variants_to_try(16, compiled=2)
    assert len({variant.name for variant in variants}) == 18
    assert [read_variant(variant.name) for variant in variants] == variants


def test_a_few_trials_see_both_precisions_and_both_paddings() -> None:
    few = variants_to_try(4)
    assert {(variant.bf16, variant.grouped) for variant in few} == {
        (a, b) for a in (True, False) for b in (True, False)
    }


def test_a_decoders_variants_are_in_bf16_and_the_first_pads_least() -> None:
    variants = variants_to_try(16, compiled=2, recipes="decoder")
    assert len({variant.name for variant in variants}) == 9
    assert all(variant.bf16 for variant in variants)
    assert variants[0].name == "bf16-grouped-fused-w0"
