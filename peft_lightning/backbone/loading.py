"""Loads a pretrained sequence classifier from the hub, a folder or the package, and identifies it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from peft_lightning.backbone.architectures import choose_attention, is_sequence_classifier
from peft_lightning.backbone.half_width import BackboneDtype, hold_in_bfloat16
from peft_lightning.backbone.heads import add_loading_note, head_modules, loading_notes, take_stock
from peft_lightning.backbone.last_token import score_last_token, scores_last_token
from peft_lightning.backbone.locations import loading_error, locate
from peft_lightning.backbone.plain_weights import own_settings, refuse_adapter, refuse_other_forms
from peft_lightning.backbone.quantised import (
    Quantisation,
    QuantiseOn,
    prepare_quantised,
    quantisation_config,
    quantising_device,
    require_quantising,
)
from peft_lightning.backbone.reading import Quantising, model_folder, read_config, read_model, read_quantised
from peft_lightning.backbone.tokenizers import load_tokenizer
from peft_lightning.backbone.weight_files import require_weights
from peft_lightning.backbone.weight_hashes import hashed_meanwhile, sha256_of_weights
from peft_lightning.errors import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

__all__ = ["Backbone", "head_modules", "load_tokenizer", "loading_notes"]

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Backbone:
    """A pretrained model to be fine-tuned: an encoder, or a decoder that becomes a classifier.

    Args:
        name_or_path: A hub id, a local folder, or ``embedded`` for the small backbone that the package carries.
        revision: Branch, tag or commit of a hub model; None is its main branch.
        attn_implementation: ``eager``, ``sdpa`` or ``flash_attention_2``; where there is no ``sdpa``, ``eager`` runs.
        compute_dtype: The type that 4-bit weights are dequantised to.
        dtype: The form of the weights below the head: ``float32``, ``bfloat16``, or ``smallest``, which means bf16 and
            lets the method choose what it can train with in fewer bits. The head stays in 32-bit floats.
        quantisation: How the linear layers of the encoder are quantised; None for not at all.
        device: The device that the model will run on. It is loaded to the CPU, or quantised on this one. The meta
            device has no values: the weights are another process's.
        quantise_on: Where weights are quantised: ``cpu``, ``gpu``, or ``auto``, which is the GPU for many weights.
    """

    name_or_path: str
    revision: str | None = None
    attn_implementation: str = "sdpa"
    compute_dtype: torch.dtype = torch.float32
    dtype: BackboneDtype = "float32"
    quantisation: Quantisation | None = None
    device: torch.device = _CPU
    quantise_on: QuantiseOn = "auto"

    def load(self, num_labels: int) -> PreTrainedModel:
        """Loads the model in ``dtype`` with a classification head in 32-bit floats.

        Args:
            num_labels: Number of classes.

        Returns:
            The model on the CPU, on the GPU where it was quantised there, or on the meta device; ``head_modules`` names
            its new modules, ``loading_notes`` what was done differently.

        Raises:
            UserError: There is no such model, it cannot classify texts, or bitsandbytes is missing.
        """
        if self.quantisation is not None:
            return self._load_quantised(num_labels, self.quantisation)
        model = self._load(num_labels, meta=self.device.type == "meta")
        if self.dtype != "float32":
            hold_in_bfloat16(model)
        if self.quantise_on == "gpu":
            add_loading_note(model, "nothing is quantised, so model.quantize_on gpu changes nothing")
        return model

    def outline(self, num_labels: int) -> PreTrainedModel:
        """Loads the model without its weights, to learn which modules are new before the others are quantised.

        Args:
            num_labels: Number of classes.

        Returns:
            The model, on the meta device; the random number generators are left as they were.
        """
        return self._load(num_labels, meta=True)

    def identity(self) -> dict[str, str | None]:
        """Returns what tells this backbone from any other.

        Returns:
            ``name``, ``revision`` (the commit of a hub model), ``sha256`` of its weight files and ``model_type``.
        """
        config = read_config(self.name_or_path, self.revision)
        folder = model_folder(self.name_or_path, self.revision)
        snapshot = folder.name if folder.parent.name == "snapshots" else self.revision
        return {
            "name": self.name_or_path,
            "revision": snapshot,
            "sha256": sha256_of_weights(folder),
            "model_type": config.model_type,
        }

    def hashed_meanwhile(self) -> AbstractContextManager[None]:
        """Returns a context beside which a local folder's weights are hashed; a hub model's files bear their hashes."""
        location = Path(locate(self.name_or_path))
        return hashed_meanwhile(location) if location.is_dir() else nullcontext()

    def embeddings(self) -> int | None:
        """Returns the number of tokens that the model has embeddings for; None if no model lies beside the tokenizer.

        Raises:
            UserError: The model's configuration cannot be read.
        """
        config = self._config_beside_tokenizer()
        size = None if config is None else getattr(config.get_text_config(), "vocab_size", None)
        return size if isinstance(size, int) else None

    def scores_last_token(self) -> bool:
        """Tells whether the model reads from left to right; False if no model lies beside the tokenizer.

        Raises:
            UserError: The model's configuration cannot be read.
        """
        config = self._config_beside_tokenizer()
        return config is not None and scores_last_token(config)

    def _config_beside_tokenizer(self) -> PretrainedConfig | None:
        location = Path(locate(self.name_or_path))
        if location.is_dir() and not (location / "config.json").is_file():
            return None
        return read_config(self.name_or_path, self.revision)

    def token_types(self) -> int:
        """Returns the number of token types, by which the model tells the texts of a pair apart; 1 or less for none.

        Raises:
            UserError: The model's configuration cannot be read.
        """
        config = self._config_beside_tokenizer()
        return int(getattr(config, "type_vocab_size", 0) or 0)

    def require_means(self) -> None:
        """Refuses to load a model in fewer bits where the means for it are missing; nothing is read.

        Raises:
            UserError: bitsandbytes, or the GPU to quantise on, is missing.
        """
        if self.quantisation is not None:
            require_quantising(self.quantisation, self.quantise_on, self.device)

    def _load_quantised(self, num_labels: int, quantisation: Quantisation) -> PreTrainedModel:
        self.require_means()
        outline = self.outline(num_labels)
        head = head_modules(outline)
        device = quantising_device(self.quantise_on, self.device, outline)
        # On the CPU the weights that are not quantised come in 32 bits first, as every run before there was a choice.
        dtype = torch.float32 if self.dtype == "float32" or device.type == "cpu" else torch.bfloat16
        config = quantisation_config(quantisation, self.compute_dtype, head)
        model = self._load(num_labels, quantising=Quantising(config, device, head, dtype))
        if self.dtype != "float32":
            hold_in_bfloat16(model)
        prepare_quantised(model, quantisation, self.dtype)
        if device.type != "cpu":
            add_loading_note(
                model, "the backbone was quantised on the GPU: other machines may round single weights otherwise"
            )
        return model

    def _load(self, num_labels: int, meta: bool = False, quantising: Quantising | None = None) -> PreTrainedModel:
        refuse_adapter(self.name_or_path, self.revision)
        config = read_config(self.name_or_path, self.revision)
        refuse_other_forms(config, self.name_or_path)
        if Path(location := locate(self.name_or_path)).is_dir():
            require_weights(Path(location), self.name_or_path)
        if not is_sequence_classifier(config):
            raise UserError(
                f"{self.name_or_path} is a {config.model_type} model, which transformers has no classification head"
                " for; choose one like roberta-base or Qwen/Qwen2.5-0.5B"
            )
        try:
            attn_implementation, notes = choose_attention(config, self.attn_implementation)
        except Exception as error:  # a size in the configuration that no layer can have
            raise loading_error(self.name_or_path, self.revision, error) from error
        arguments: dict[str, Any]
        arguments, more_notes = own_settings(config, self.name_or_path)
        arguments["attn_implementation"] = attn_implementation
        place = (self.name_or_path, self.revision, num_labels)
        if quantising is None:
            model, info = read_model(*place, meta=meta, **arguments)
        else:
            model, info = read_quantised(*place, quantising, **arguments)
        if scores_last_token(config):
            score_last_token(model, self.name_or_path)
        take_stock(model, info, self.name_or_path, [*notes, *more_notes])
        return model
