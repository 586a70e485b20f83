import pytest
from transformers import (
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    T5Config,
)
from transformers.modeling_layers import GradientCheckpointingLayer

from peft_lightning.backbone.architectures import recompute_activations, recomputes_activations


def recomputing(config: PretrainedConfig) -> list[bool]:
    """Whether each layer computes its activations again."""
    model: PreTrainedModel = AutoModelForSequenceClassification.from_config(config)
    recompute_activations(model)
    assert recomputes_activations(model)
    return [part.gradient_checkpointing for part in model.modules() if isinstance(part, GradientCheckpointingLayer)]


def qwen(layers: int) -> PretrainedConfig:
    """A small decoder's configuration."""
    return Qwen2Config(
        vocab_size=32,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
    )


@pytest.mark.parametrize(("layers", "expected"), [(3, [True, True, False]), (1, [True])])
def test_the_last_of_several_layers_keeps_its_activations(layers: int, expected: list[bool]) -> None:
    assert recomputing(qwen(layers)) == expected


def test_of_an_encoder_and_a_decoder_the_decoder_s_last_layer_keeps_them() -> None:
    config = T5Config(vocab_size=32, d_model=16, d_kv=8, d_ff=16, num_layers=3, num_heads=2, pad_token_id=0)
    assert recomputing(config) == [True] * 5 + [False]
