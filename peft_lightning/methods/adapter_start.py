"""Where the adapters of a run start: at the values that PEFT gives them, or at what training data say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from peft_lightning.methods.data_start import Computed, TrainingSample, computed_under
from peft_lightning.methods.injection import inject_adapters
from peft_lightning.methods.starts import start_from_data

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel


class AdapterStart:
    """The start of a run's adapters. One from data is computed once, and rebuilt from a checkpoint afterwards.

    Args:
        peft_type: The type, such as ``LORA``.
        arguments: The arguments that the user has set.
        batches: The number of training batches that a start from data is computed from.
    """

    def __init__(self, peft_type: str, arguments: Mapping[str, object], batches: int) -> None:
        self._start = start_from_data(peft_type, arguments)
        self._batches = batches
        self._computed: Computed | None = None

    @property
    def batches_needed(self) -> int:
        """The number of training batches that the start still has to be computed from."""
        return 0 if self._start is None or self._computed is not None else self._batches

    def add_argument(self, arguments: dict[str, Any]) -> None:
        """Adds the start's own argument to those of PEFT's configuration, where it has one.

        Args:
            arguments: The arguments, which are changed.
        """
        if self._start is not None:  # PEFT warns of a default, or raises
            arguments[self._start.argument] = arguments.get(self._start.argument) or {}

    def inject(self, model: PreTrainedModel, config: PeftConfig) -> nn.Module:
        """Adds the adapters at their start, or at LoRA's usual one until the data have been seen.

        Args:
            model: The model, which is changed.
            config: The configuration of the adapters.

        Returns:
            The PEFT model.
        """
        if self._start is None:
            return inject_adapters(model, config)
        # At LoRA's usual start until the data have been seen, or a checkpoint's start is known.
        asked = config.init_lora_weights  # type: ignore[attr-defined]
        config.init_lora_weights = True  # type: ignore[attr-defined]
        adapted = inject_adapters(model, config)
        config.init_lora_weights = asked  # type: ignore[attr-defined]
        if self._computed is not None:
            self._start.apply(cast("PeftModel", adapted), self._computed)
        return adapted

    def compute(self, seed: int, model: PeftModel, sample: TrainingSample) -> Computed:
        """Computes the start from training batches; nothing where PEFT's own values are the start.

        Args:
            seed: What is drawn is drawn under it.
            model: The adapted model.
            sample: The training batches.
        """
        return {} if self._start is None else computed_under(seed, self._start, model, sample)

    def apply(self, model: PeftModel, computed: Computed) -> None:
        """Gives the adapters their start.

        Args:
            model: The adapted model.
            computed: What ``compute`` returned.
        """
        if self._start is not None:
            self._computed = computed
            self._start.apply(model, computed)

    def findings(self, name: str) -> list[str]:
        """Returns what the start has decided, a sentence each.

        Args:
            name: The method's name.
        """
        if self._start is None or self._computed is None:
            return []
        batches = f"{name} started from {self._computed['batches']} training batches"
        return [batches, *self._start.findings(self._computed)]

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint needs, by the key that it has there."""
        if self._start is None or self._computed is None:
            return {}
        return {"start": {**self._start.kept(self._computed), "batches": self._computed["batches"]}}

    def rebuilds_for(self, state: Mapping[str, Any]) -> bool:
        """Takes over a checkpoint's start; tells whether it is another than that of the model so far.

        Args:
            state: What ``state`` returned when the checkpoint was saved, and more.
        """
        if self._start is None:
            return False
        if self._computed is not None and self._start.same(self._computed, state["start"]):
            return False
        self._computed = state["start"]
        return True
