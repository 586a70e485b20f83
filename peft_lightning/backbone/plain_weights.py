"""Finds what makes transformers do more than load plain weights: adapters, quantised weights, settings of a past use.

Each is refused in a line, or set aside and noted, so that a run trains the weights that its record names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft_lightning.backbone.last_token import scores_last_token
from peft_lightning.backbone.locations import cache_alone, locate, quiet_transformers
from peft_lightning.errors import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

ADAPTER = "adapter_config.json"
# Settings of an earlier use that transformers obeys unasked, and the values that a run trains with. The last but one
# recomputes activations (less memory, slower steps), the last two keep every layer's outputs.
_OWN = {"return_dict": True, "gradient_checkpointing": False, "output_hidden_states": False, "output_attentions": False}
# Endings of the names of tensors that belong to an adapter that was not merged, and to quantised weights.
_OF_ADAPTERS = (".base_layer.weight", ".lora_A.weight", ".lora_B.weight", ".original_module.weight")
_OF_QUANTISED = (".absmax", ".SCB", ".qweight", ".qzeros", ".weight_scale", ".weight_scale_inv", ".weight_packed")


def refuse_adapter(name_or_path: str, revision: str | None) -> None:
    """Refuses an adapter, alone or beside the weights of a model, to which transformers would attach it unasked.

    Args:
        name_or_path: A hub id, a local folder, or ``embedded``.
        revision: Branch, tag or commit of a hub model; None is its main branch.

    Raises:
        UserError: There is an adapter.
    """
    adapter, has_config = _adapter(name_or_path, revision)
    if adapter is None:
        return
    if has_config:
        raise UserError(
            f"{name_or_path} holds an adapter ({ADAPTER}) beside its weights, and loading would attach it unasked: take"
            f" {ADAPTER} out to train the weights as they are, for example with the adapter merged into them"
        )
    base = _base_model(adapter)
    name = f", {base}," if base else ""
    raise UserError(
        f"{name_or_path} is a PEFT adapter, not a model: name the folder of its backbone{name} or merge the adapter"
        " into it (merge_and_unload) and name the folder of the merged model"
    )


def refuse_other_forms(config: PretrainedConfig, name_or_path: str) -> None:
    """Refuses a configuration whose weights are quantised, lie in a file of another name, or are a decoder's.

    Args:
        config: The model's configuration.
        name_or_path: The backbone's name as the user wrote it.

    Raises:
        UserError: The configuration asks for such a form.
    """
    quantised = getattr(config, "quantization_config", None) or getattr(config, "compression_config", None)
    if quantised:
        raise UserError(f"{name_or_path} is already quantised{_how(quantised)}, {_BEFORE_QUANTISATION}")
    if getattr(config, "transformers_weights", None) is not None:
        raise UserError(
            f"{name_or_path} names its file of weights in config.json (transformers_weights): take that out, and call"
            " the file model.safetensors"
        )
    if getattr(config, "is_decoder", False) and not scores_last_token(config):
        raise UserError(
            f"{name_or_path} is a decoder (config.json sets is_decoder), which reads no token's right-hand context:"
            " choose an encoder such as roberta-base"
        )


def refuse_foreign_tensors(unexpected_keys: Iterable[str], name_or_path: str) -> None:
    """Refuses weights among which an adapter's tensors lie, or the constants of quantised weights.

    Args:
        unexpected_keys: The names of tensors that the model has no place for.
        name_or_path: The backbone's name as the user wrote it.

    Raises:
        UserError: There are such tensors.
    """
    for key in sorted(unexpected_keys):
        if key.endswith(_OF_ADAPTERS):
            raise UserError(
                f"{name_or_path} holds an adapter that is not merged into its weights ({key}): merge it"
                " (merge_and_unload) and save the model, or name the backbone itself"
            )
        if key.endswith(_OF_QUANTISED):
            raise UserError(f"{name_or_path} holds quantised weights ({key}), {_BEFORE_QUANTISATION}")


def own_settings(config: PretrainedConfig, name_or_path: str) -> tuple[dict[str, Any], list[str]]:
    """Finds the settings of an earlier use in a configuration, which a run decides by itself.

    Args:
        config: The model's configuration.
        name_or_path: The backbone's name as the user wrote it.

    Returns:
        The values to load the model with instead, and a note on what is set aside.
    """
    changed = {name: value for name, value in _OWN.items() if getattr(config, name, value) != value}
    notes = [f"config.json of {name_or_path} sets {', '.join(changed)}: not taken over"] if changed else []
    if getattr(config, "auto_map", None):
        notes.append(
            f"{name_or_path} comes with Python code of its own, which is not run: transformers' {config.model_type} is"
        )
    return changed, notes


_BEFORE_QUANTISATION = "so its weights are no longer those that were pretrained: name the model before quantisation"


def _how(quantised: object) -> str:
    described = quantised if isinstance(quantised, dict) else getattr(quantised, "__dict__", {})
    method = described.get("quant_method")
    return f" ({getattr(method, 'value', method)})" if method else ""


def _adapter(name_or_path: str, revision: str | None) -> tuple[Path | None, bool]:
    """Returns the adapter's configuration, and whether a model's configuration lies beside it."""
    from transformers.utils.hub import cached_file
    from transformers.utils.peft_utils import find_adapter_config_file

    location = locate(name_or_path)
    if Path(location).is_dir():
        adapter = Path(location) / ADAPTER
        return adapter if adapter.is_file() else None, (Path(location) / "config.json").is_file()
    alone = cache_alone(location)
    with quiet_transformers():
        try:
            found = find_adapter_config_file(location, revision=revision, local_files_only=alone)
            config = found and cached_file(
                location,
                "config.json",
                revision=revision,
                local_files_only=alone,
                _raise_exceptions_for_missing_entries=False,
            )
        except Exception:  # what prevents this prevents the loading that follows, which says why
            return None, False
    return Path(found) if found else None, config is not None


def _base_model(adapter: Path) -> str:
    try:
        base = json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return ""
    return base if isinstance(base, str) else ""
