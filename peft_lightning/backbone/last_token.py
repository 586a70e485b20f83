"""Classifiers that read a text from left to right: decoders, and encoders with a decoder, score a text's last token.

transformers looks for the last token that is not padding by its number, so a text that ends in the number of padding
is scored too early: every text does whose end-of-text token pads too (GPT-2, Qwen2.5). Here the attention mask says
where a text ends, whatever the numbers are. Only that token goes through the head, and nothing is read back from the
device, so that a step can be captured as a CUDA graph; transformers counts T5's and BART's end-of-text tokens.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from peft_lightning.errors import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel
    from transformers.modeling_outputs import SequenceClassifierOutput

# The modules of a head, in the order in which a state passes through them; an architecture has some of them.
_HEAD = ("head", "drop", "score", "classifier", "classification_head")


def scores_last_token(config: PretrainedConfig) -> bool:
    """Tells whether an architecture reads from left to right, so that only a text's last token has seen all of it.

    BERT and its kin can be run as decoders too; an architecture without a masked language model is only a decoder.

    Args:
        config: The configuration of the architecture.
    """
    from transformers import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_MASKED_LM_MAPPING,
        MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    )

    kind = type(config)
    if kind not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        return False
    if getattr(config, "is_encoder_decoder", False):
        return True
    if kind in MODEL_FOR_MASKED_LM_MAPPING:
        return False
    if kind in MODEL_FOR_CAUSAL_LM_MAPPING:
        return True
    from transformers.modeling_layers import GenericForSequenceClassification

    classifier: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[kind]
    return issubclass(classifier, GenericForSequenceClassification)


class LastTokenClassifier(nn.Module):
    """What a decoder's class becomes a subclass of, to score the last token under the attention mask."""

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput:
        """Computes the scores of the classes at each text's last token.

        Args:
            input_ids: Token ids, (batch, length).
            attention_mask: 1 for tokens and 0 for padding, (batch, length), or longer by the tokens that a prompt puts
                before the text; without it no token is padding.
            past_key_values: Keys and values of a prefix, which PEFT's prefix tuning trains.
            inputs_embeds: Embeddings in place of token ids, (batch, length, width).
            labels: Takes nothing: the task computes the loss.
            kwargs: The base model's further arguments.

        Returns:
            ``logits``, (batch, outputs), and hidden states and attentions where they are asked for.
        """
        from transformers.modeling_outputs import SequenceClassifierOutput

        if labels is not None:
            raise ValueError("the task computes the loss, not the model: leave labels out")
        own: Any = self
        pad = own.config.pad_token_id
        if own.config.is_encoder_decoder and input_ids is not None and attention_mask is not None and pad is not None:
            # mBART and PLBART find a text's last token by the padding's number, and begin the decoder's text with it.
            input_ids = input_ids.masked_fill(attention_mask == 0, pad)
        given = {"input_ids": input_ids, "past_key_values": past_key_values, "inputs_embeds": inputs_embeds}
        kwargs |= {name: value for name, value in given.items() if value is not None}
        if own.config.is_encoder_decoder and "decoder_input_ids" not in kwargs:
            # The decoder reads the text once more, shifted by one; BART's kin do so by themselves.
            shift = getattr(own, "_shift_right", None) or getattr(own, "prepare_decoder_input_ids_from_labels", None)
            if shift is not None:
                kwargs["decoder_input_ids"] = shift(input_ids)
        # A cache is of use for generation alone, and would keep every layer's keys and values.
        outputs = own.base_model(attention_mask=attention_mask, **{**kwargs, "use_cache": False})
        states: Tensor = outputs.last_hidden_state
        state = states[
            torch.arange(states.shape[0], device=states.device), last_tokens(attention_mask, states.shape[1])
        ]
        for name in _HEAD:
            module = own._modules.get(name)
            state = state if module is None else module(state)
        return SequenceClassifierOutput(
            logits=state,
            hidden_states=getattr(outputs, "hidden_states", None),
            attentions=getattr(outputs, "attentions", None),
        )


def last_tokens(attention_mask: Tensor | None, length: int) -> Tensor | int:
    """Returns the position of each row's last token.

    Args:
        attention_mask: 1 for tokens and 0 for padding, on either side, (batch, length or more); of a longer mask the
            end counts.
        length: The number of states in a row.

    Returns:
        Positions, (batch,); -1, the last position of every row, without a mask.
    """
    if attention_mask is None:
        return -1
    is_token = attention_mask[:, -length:].to(torch.int32)
    return (is_token * torch.arange(length, dtype=torch.int32, device=is_token.device)).argmax(1)


def score_last_token(model: PreTrainedModel, name_or_path: str) -> None:
    """Lets a model score each text's last token by the attention mask.

    Args:
        model: A model just loaded, for whose configuration ``scores_last_token`` is true; it is changed in place.
        name_or_path: The backbone's name as the user wrote it.

    Raises:
        UserError: The architecture has a head of another form.
    """
    children = {name for name, _ in model.named_children()} - {model.base_model_prefix}
    strange = sorted(children - set(_HEAD))
    if strange:
        raise UserError(
            f"{name_or_path} is a {model.config.model_type} model, whose head ({', '.join(strange)}) is none that"
            " scores a text's last token: choose another model, such as Qwen/Qwen2.5-0.5B or roberta-base"
        )
    kind: Any = type(model)
    model.__class__ = _last_token_class(kind)


def is_last_token_classifier(model: nn.Module) -> bool:
    """Tells whether a model, adapted or not, scores each text's last token."""
    return any(isinstance(module, LastTokenClassifier) for module in model.modules())


@cache
def _last_token_class(cls: type[PreTrainedModel]) -> type[PreTrainedModel]:
    # Its name goes into config.json as the architecture, so it stays transformers' own.
    return type(cls.__name__, (LastTokenClassifier, cls), {"__module__": cls.__module__, "__qualname__": cls.__name__})
