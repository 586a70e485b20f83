"""The folder that users load: half-precision weights, configuration, tokenizer and card."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pretraining.bpe import save_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import RobertaForMaskedLM

CARD_TEMPLATE = Path(__file__).with_name("card.md")


def export_backbone(
    model: RobertaForMaskedLM, tokenizer: Tokenizer, folder: Path, *, finetuning_dropout: float = 0.1
) -> None:
    """Writes weights, configuration and tokenizer; any head of RoBERTa's loads on top of them.

    The language-modelling head stays behind: fine-tuning puts another in its place. The weights are stored in
    fp16 to halve their room, and the configuration says float32 so that they load as such.

    Args:
        model: the pretrained network.
        tokenizer: its vocabulary.
        folder: made if it is not there.
        finetuning_dropout: what the configuration tells those who fine-tune.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        f"roberta.{name}": tensor.detach().to("cpu", torch.float16).contiguous()
        for name, tensor in model.roberta.state_dict().items()
        if tensor.is_floating_point()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    config = model.config.to_dict()
    config.update(
        architectures=["RobertaForMaskedLM"],
        dtype="float32",
        hidden_dropout_prob=finetuning_dropout,
        attention_probs_dropout_prob=finetuning_dropout,
    )
    config.pop("_name_or_path", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    save_tokenizer(tokenizer, folder)


def write_card(folder: Path, facts: dict[str, Any]) -> None:
    """Fills the card's template with what this run was."""
    template = string.Template(CARD_TEMPLATE.read_text(encoding="utf-8"))
    (folder / "README.md").write_text(template.substitute(facts), encoding="utf-8")
