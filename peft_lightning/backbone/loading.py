"""Loads a pretrained sequence classifier from the hub, a folder or the package, and identifies it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from peft_lightning.backbone.architectures import choose_attention, is_sequence_classifier
from peft_lightning.backbone.half_width import BackboneDtype, hold_in_bfloat16
from peft_lightning.backbone.heads import head_modules, loading_notes, take_stock
from peft_lightning.backbone.locations import (
    cache_alone,
    loading_error,
    locate,
    quiet_transformers,
    require_model_folder,
)
from peft_lightning.backbone.plain_weights import own_settings, refuse_adapter, refuse_other_forms
from peft_lightning.backbone.quantised import Quantisation, load_quantised
from peft_lightning.backbone.tokenizers import load_tokenizer
from peft_lightning.backbone.weight_files import require_weights, sha256_of_weights
from peft_lightning.errors import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel
    from transformers.utils.quantization_config import QuantizationConfigMixin

__all__ = ["Backbone", "head_modules", "load_tokenizer", "loading_notes"]


@dataclass(frozen=True)
class Backbone:
    """A pretrained encoder to be fine-tuned.

    Args:
        name_or_path: A hub id, a local folder, or ``embedded`` for the small backbone that the package carries.
        revision: Branch, tag or commit of a hub model; None is its main branch.
        attn_implementation: ``eager``, ``sdpa`` or ``flash_attention_2``; where there is no ``sdpa``, ``eager`` runs.
        compute_dtype: The type that 4-bit weights are dequantised to.
        dtype: The form of the weights below the head: ``float32``, ``bfloat16``, or ``smallest``, which means bf16 and
            lets the method choose what it can train with in fewer bits. The head stays in 32-bit floats.
        quantisation: How the linear layers of the encoder are quantised; None for not at all.
    """

    name_or_path: str
    revision: str | None = None
    attn_implementation: str = "sdpa"
    compute_dtype: torch.dtype = torch.float32
    dtype: BackboneDtype = "float32"
    quantisation: Quantisation | None = None

    def load(self, num_labels: int, quantization_config: QuantizationConfigMixin | None = None) -> PreTrainedModel:
        """Loads the encoder in ``dtype`` with a classification head in 32-bit floats, on the CPU.

        Args:
            num_labels: Number of classes.
            quantization_config: How to quantise the linear layers, in transformers' words; ``load_quantised`` sets it.

        Returns:
            The model; ``head_modules`` names its new modules, ``loading_notes`` what was done differently.

        Raises:
            UserError: There is no such model, or it is not an encoder for sequence classification.
        """
        if self.quantisation is not None:
            return load_quantised(self, num_labels, self.quantisation)
        model = self._load(num_labels, quantization_config, device="cpu")
        if self.dtype != "float32":
            hold_in_bfloat16(model)
        return model

    def outline(self, num_labels: int) -> PreTrainedModel:
        """Loads the model without its weights, to learn which modules are new before the others are quantised.

        Args:
            num_labels: Number of classes.

        Returns:
            The model, on the meta device; the random number generators are left as they were.
        """
        return self._load(num_labels, None, device="meta")

    def identity(self) -> dict[str, str | None]:
        """Returns what tells this backbone from any other.

        Returns:
            ``name``, ``revision`` (the commit of a hub model), ``sha256`` of its weight files and ``model_type``.
        """
        config = self._config()
        folder = self._folder()
        snapshot = folder.name if folder.parent.name == "snapshots" else self.revision
        return {
            "name": self.name_or_path,
            "revision": snapshot,
            "sha256": sha256_of_weights(folder),
            "model_type": config.model_type,
        }

    def embeddings(self) -> int | None:
        """Returns the number of tokens that the model has embeddings for; None if no model lies beside the tokenizer.

        Raises:
            UserError: The model's configuration cannot be read.
        """
        location = Path(locate(self.name_or_path))
        if location.is_dir() and not (location / "config.json").is_file():
            return None
        size = getattr(self._config(), "vocab_size", None)
        return size if isinstance(size, int) else None

    def token_types(self) -> int:
        """Returns the number of token types, by which the model tells the texts of a pair apart; 1 or less for none.

        Raises:
            UserError: The model's configuration cannot be read.
        """
        location = Path(locate(self.name_or_path))
        if location.is_dir() and not (location / "config.json").is_file():
            return 0
        return int(getattr(self._config(), "type_vocab_size", 0) or 0)

    def _load(
        self, num_labels: int, quantization_config: QuantizationConfigMixin | None, device: str
    ) -> PreTrainedModel:
        from transformers import AutoModelForSequenceClassification

        refuse_adapter(self.name_or_path, self.revision)
        config = self._config()
        refuse_other_forms(config, self.name_or_path)
        if Path(location := locate(self.name_or_path)).is_dir():
            require_weights(Path(location), self.name_or_path)
        if not is_sequence_classifier(config):
            raise UserError(
                f"{self.name_or_path} is a {config.model_type} model, which is no encoder for sequence "
                "classification; choose one like roberta-base"
            )
        try:
            attn_implementation, notes = choose_attention(config, self.attn_implementation)
        except Exception as error:  # a size in the configuration that no layer can have
            raise loading_error(self.name_or_path, self.revision, error) from error
        arguments, more_notes = own_settings(config, self.name_or_path)
        if quantization_config is not None:
            arguments["quantization_config"] = quantization_config
        if quantization_config is not None or device != "cpu":
            arguments["device_map"] = {"": device}
        with quiet_transformers():
            try:
                loaded, info = AutoModelForSequenceClassification.from_pretrained(
                    location,
                    revision=self.revision,
                    num_labels=num_labels,
                    attn_implementation=attn_implementation,
                    dtype=torch.float32,
                    local_files_only=cache_alone(self.name_or_path),
                    trust_remote_code=False,
                    ignore_mismatched_sizes=True,
                    output_loading_info=True,
                    **arguments,
                )
            # Several libraries read weights, each with exceptions of its own.
            except Exception as error:
                raise loading_error(self.name_or_path, self.revision, error) from error
        model = cast("PreTrainedModel", loaded)
        take_stock(model, info, self.name_or_path, [*notes, *more_notes])
        return model

    def _config(self) -> PretrainedConfig:
        from transformers import AutoConfig

        location = locate(self.name_or_path)
        require_model_folder(self.name_or_path)
        with quiet_transformers():
            try:
                config = AutoConfig.from_pretrained(
                    location, revision=self.revision, local_files_only=cache_alone(location), trust_remote_code=False
                )
            except Exception as error:
                raise loading_error(self.name_or_path, self.revision, error) from error
        return cast("PretrainedConfig", config)

    def _folder(self) -> Path:
        """Returns the folder of the model's files; a hub model's is in the cache."""
        from transformers.utils.hub import cached_file

        location = locate(self.name_or_path)
        if Path(location).is_dir():
            return Path(location)
        try:
            config_file = cached_file(location, "config.json", revision=self.revision, local_files_only=True)
        except Exception as error:
            raise loading_error(self.name_or_path, self.revision, error) from error
        return Path(str(config_file)).parent
