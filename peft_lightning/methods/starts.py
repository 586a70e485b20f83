"""Starts of LoRA that are computed from training data before the first step: EVA, CorDA and LoRA-GA.

PEFT computes them; without data it falls back to LoRA's usual start and says nothing. Here a start is computed once,
checked, and then applied to the adapted model. A checkpoint keeps what applies it again in a fresh process.
"""

from __future__ import annotations

from collections.abc import Mapping

from peft_lightning.methods.data_start import DataStart
from peft_lightning.methods.eva_start import EVA
from peft_lightning.methods.factor_starts import CorDA, LoRAGA

_STARTS: dict[str, type[DataStart]] = {"corda": CorDA, "eva": EVA, "lora_ga": LoRAGA}


def start_from_data(peft_type: str, arguments: Mapping[str, object]) -> DataStart | None:
    """Returns the start that a type's arguments ask for; None where it needs no data.

    Args:
        peft_type: The type, such as ``LORA``.
        arguments: The arguments that the user has set.
    """
    asked = arguments.get("init_lora_weights") if peft_type == "LORA" else None
    return _STARTS[asked]() if isinstance(asked, str) and asked in _STARTS else None
