"""Reads a model's configuration and weights by transformers, whole or one tensor at a time."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from peft_lightning.backbone.lazy_weights import lazy_weights
from peft_lightning.backbone.locations import (
    cache_alone,
    loading_error,
    locate,
    quiet_transformers,
    require_model_folder,
)
from peft_lightning.backbone.weight_files import weight_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PretrainedConfig, PreTrainedModel
    from transformers.utils.quantization_config import QuantizationConfigMixin


@dataclass(frozen=True)
class Quantising:
    """How weights are quantised while they are read.

    Args:
        config: How, in transformers' words.
        device: Where: the weights are read to this device, one tensor at a time.
        head: The modules that stay in 32 bits.
        dtype: The type of the weights that are not quantised, the head's aside.
    """

    config: QuantizationConfigMixin
    device: torch.device
    head: Sequence[str]
    dtype: torch.dtype


def read_config(name_or_path: str, revision: str | None) -> PretrainedConfig:
    """Reads a model's configuration.

    Args:
        name_or_path: A hub id, a local folder, or ``embedded``.
        revision: Branch, tag or commit of a hub model; None is its main branch.

    Raises:
        UserError: There is none, or it cannot be read.
    """
    from transformers import AutoConfig

    location = locate(name_or_path)
    require_model_folder(name_or_path)
    with quiet_transformers():
        try:
            config = AutoConfig.from_pretrained(
                location, revision=revision, local_files_only=cache_alone(location), trust_remote_code=False
            )
        except Exception as error:
            raise loading_error(name_or_path, revision, error) from error
    return cast("PretrainedConfig", config)


def model_folder(name_or_path: str, revision: str | None) -> Path:
    """Returns the folder of a model's files; a hub model's is in the cache.

    Args:
        name_or_path: A hub id, a local folder, or ``embedded``.
        revision: Branch, tag or commit of a hub model; None is its main branch.

    Raises:
        UserError: The hub model is not in the cache.
    """
    from transformers.utils.hub import cached_file

    location = locate(name_or_path)
    if Path(location).is_dir():
        return Path(location)
    try:
        config_file = cached_file(location, "config.json", revision=revision, local_files_only=True)
    except Exception as error:
        raise loading_error(name_or_path, revision, error) from error
    return Path(str(config_file)).parent


def read_model(
    name_or_path: str, revision: str | None, num_labels: int, meta: bool = False, **settings: Any
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Reads a sequence classifier in 32-bit floats.

    Args:
        name_or_path: A hub id, a local folder, or ``embedded``.
        revision: Branch, tag or commit of a hub model; None is its main branch.
        num_labels: Number of classes.
        meta: Whether weights stay on the meta device, so that none are read; else they are on the CPU.
        settings: Further arguments of ``from_pretrained``, and settings of the configuration.

    Returns:
        The model, and transformers' loading info.

    Raises:
        UserError: The model cannot be read.
    """
    from transformers import AutoModelForSequenceClassification

    if meta:
        settings["device_map"] = {"": "meta"}
    with quiet_transformers():
        try:
            return cast(
                "tuple[PreTrainedModel, dict[str, Any]]",
                AutoModelForSequenceClassification.from_pretrained(
                    locate(name_or_path),
                    revision=revision,
                    num_labels=num_labels,
                    dtype=torch.float32,
                    local_files_only=cache_alone(name_or_path),
                    trust_remote_code=False,
                    ignore_mismatched_sizes=True,
                    output_loading_info=True,
                    **settings,
                ),
            )
        # Several libraries read weights, each with exceptions of its own.
        except Exception as error:
            raise loading_error(name_or_path, revision, error) from error


def read_quantised(
    name_or_path: str, revision: str | None, num_labels: int, quantising: Quantising, **settings: Any
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Reads a sequence classifier and quantises it, a tensor at a time.

    Args:
        name_or_path: A hub id, a local folder, or ``embedded``; a hub model's files are in the cache.
        revision: Branch, tag or commit of a hub model; None is its main branch.
        num_labels: Number of classes.
        quantising: How, and where.
        settings: Further arguments of ``from_pretrained``, and settings of the configuration.

    Returns:
        The model on the device where it was quantised, and transformers' loading info.

    Raises:
        UserError: The model cannot be read.
    """
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    placed: dict[str, Any] = {"quantization_config": quantising.config, "device_map": {"": quantising.device}}
    try:
        files = weight_files(model_folder(name_or_path, revision))
        weights = lazy_weights(files, mapped=quantising.device.type == "cuda")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise loading_error(name_or_path, revision, error) from error
    if weights is None:  # a pickle is read whole
        return read_model(name_or_path, revision, num_labels, **settings, **placed)
    config = deepcopy(read_config(name_or_path, revision))
    config.num_labels = num_labels
    attention = settings.pop("attn_implementation")
    for name, value in settings.items():
        setattr(config, name, value)
    cls: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)]
    whole = [*(cls._keep_in_fp32_modules_strict or ()), *quantising.head]
    # The class is a stand-in while the weights are read: transformers reads from it what stays in 32 bits.
    reader: Any = type(cls.__name__, (cls,), {"__module__": cls.__module__, "_keep_in_fp32_modules_strict": whole})
    with quiet_transformers():
        try:
            model, info = reader.from_pretrained(
                None,
                config=config,
                state_dict=weights,
                attn_implementation=attention,
                dtype=quantising.dtype,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **placed,
            )
        except Exception as error:
            raise loading_error(name_or_path, revision, error) from error
    model.__class__ = cls
    # What transformers says itself where it is given a name to read from; PEFT writes it beside an adapter.
    model.name_or_path = model.config.name_or_path = locate(name_or_path)
    for name in quantising.head:  # what no file held was made in the type of the others
        model.get_submodule(name).float()
    return model, info
