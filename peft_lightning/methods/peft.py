"""Any method of PEFT's, by the configuration that PEFT has for it."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from peft_lightning.backbone.quantised import packed_as
from peft_lightning.errors import Setting, UserError
from peft_lightning.methods.adalora import AdaLoRA
from peft_lightning.methods.adapter_start import AdapterStart
from peft_lightning.methods.base import Method
from peft_lightning.methods.butterfly_factors import BOFT
from peft_lightning.methods.data_start import TrainingSample
from peft_lightning.methods.ia3 import keep_narrow
from peft_lightning.methods.own_part import OwnPart
from peft_lightning.methods.peft_arguments import BOOKKEEPING, check_arguments, read_words
from peft_lightning.methods.peft_combinations import refuse_model, refuse_quantised, refuse_recomputed
from peft_lightning.methods.peft_types import SEEDS, configuration_class, layers_to_adapt, variant_of
from peft_lightning.methods.plain_lora import as_plain_lora, start_in_backbone

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

    from peft_lightning.backbone.loading import Backbone

# The seeds that PEFT's types take are 32-bit numbers.
_SEED_RANGE = 2**31
# With batches of 8, the 256 texts of which CorDA's authors take the covariance; LoRA-GA's take 128.
START_BATCHES = 32
# What types do beside their layers; those that are not here do nothing.
_OWN_PARTS: dict[str, type[OwnPart]] = {"ADALORA": AdaLoRA, "BOFT": BOFT}


class PEFT(Method):
    """Trains the adapters of any type that PEFT offers for classification (github.com/huggingface/peft).

    Args:
        config: The type and its arguments in PEFT's own words, such as `{peft_type: VERA, r: 256}`; or an
            `adapter_config.json` as PEFT writes it, or the folder that holds one. The layers to adapt are
            `target_modules`; without them PEFT's choice for the architecture, or else all linear layers of the
            encoder.
        adapter_seed: Seed of what the type draws when it starts, frozen projections and masks included; by default
            the seed of the run.
        start_batches: Training batches that `init_lora_weights` `eva`, `corda` and `lora_ga` are computed from before
            the first step, the first ones of the run's own order.

    Raises:
        UserError: There is no such type, it cannot classify texts, or it does not take these arguments.
    """

    def __init__(
        self, config: dict[str, Any] | str, adapter_seed: int | None = None, start_batches: int = START_BATCHES
    ) -> None:
        super().__init__()
        if start_batches < 1:
            raise UserError(
                f"start_batches is {start_batches}: ", Setting("model.method.start_batches"), " takes 1 or more"
            )
        self.peft_type, words = read_words(config)
        self._whole = words.get("modules_to_save") or ()
        self.arguments: dict[str, Any] = {name: value for name, value in words.items() if name not in BOOKKEEPING}
        self._own = _OWN_PARTS.get(self.peft_type, OwnPart)()
        for name in self._own.follows_from_run:
            self.arguments.pop(name, None)
        check_arguments(configuration_class(self.peft_type), self.peft_type, self.arguments)
        self.config = {"peft_type": self.peft_type, **self.arguments}
        self.adapter_seed = adapter_seed
        self.reads_gradients = self._own.reads_gradients
        self.needs_whole_weights = self._own.needs_whole_weights
        self.start_batches = start_batches
        self._start = AdapterStart(self.peft_type, self.arguments, start_batches)
        self._drawn_with: int | None = None

    @property
    def name(self) -> str:
        """The type in lower case, such as ``vera``; of LoRA the variant, such as ``pissa``."""
        return variant_of(self.peft_type, self.arguments) or self.peft_type.lower()

    @property
    def former_names(self) -> frozenset[str]:
        """The type without the variant."""
        return frozenset({self.peft_type.lower()} - {self.name})

    @property
    def least_steps(self) -> int:
        """The optimiser steps that the type's own schedule needs at least."""
        return self._own.least_steps(self.arguments)

    def form_of(self, backbone: Backbone) -> Backbone:
        """Refuses quantised layers where the type cannot be put beside them."""
        if backbone.quantisation is not None:
            refuse_quantised(self.peft_type, self.arguments, backbone.quantisation.bits)
        return backbone

    def require_means(self) -> None:
        """Refuses a type whose layers cannot be built here as they are asked for."""
        self._own.require_means(self.arguments)

    def refuse_recomputing(self) -> None:
        """Refuses a type that puts tokens before the text."""
        refuse_recomputed(self.peft_type)

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """Freezes the encoder and adds the type's adapters.

        Args:
            model: What ``load_backbone`` returned; it is changed in place.

        Returns:
            The PEFT model.

        Raises:
            UserError: The type does not go with the architecture or with its arguments.
        """
        refuse_model(self.peft_type, self._whole, model)
        if self._drawn_with is None:
            seed = torch.initial_seed() if self.adapter_seed is None else self.adapter_seed
            self._drawn_with = seed % _SEED_RANGE
        # A fork, so that the draws of a type change neither the order of the data nor dropout, and so that a
        # checkpoint is rebuilt from this one number under any seed.
        with _drawing_under(self._drawn_with):
            try:
                adapted = self._start.inject(model, self._configuration(model))
            except ImportError as error:
                raise UserError(f"{self.peft_type} needs a package that is missing: {_reason(error)}") from error
            # PEFT checks shapes and names where it builds the layers, with errors of many classes.
            except (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
                raise UserError(
                    f"{self.peft_type} cannot adapt {model.config.model_type} with these arguments ({_reason(error)}): "
                    "change ",
                    Setting("model.method.config"),
                ) from error

        from peft_lightning.methods.capturable_layers import make_capturable

        make_capturable(adapted)
        keep_narrow(adapted)
        self._own.settle(adapted)
        return adapted

    @property
    def batches_to_start_from(self) -> int:
        """The number of training batches that the start still has to be computed from."""
        return self._start.batches_needed

    def compute_start(self, model: nn.Module, sample: TrainingSample) -> dict[str, Any]:
        """Computes the start of EVA, CorDA or LoRA-GA."""
        if self._drawn_with is None:
            return {}
        return self._start.compute(self._drawn_with, cast("PeftModel", model), sample)

    def start_from(self, model: nn.Module, computed: dict[str, Any]) -> None:
        """Gives the adapters the start that ``compute_start`` returned."""
        if self._drawn_with is not None:
            with _drawing_under(self._drawn_with):
                self._start.apply(cast("PeftModel", model), computed)

    def before_training(self, model: nn.Module, total_steps: int) -> None:
        """Sets the length of the type's own schedule."""
        self._own.begin(model, total_steps)

    def extra_loss(self, model: nn.Module) -> Tensor | None:
        """Computes the type's penalty.

        Raises:
            UserError: The start was never computed: a loop other than the Trainer's has to ask for it.
        """
        if self.batches_to_start_from:
            raise UserError(
                f"{self.name} was given no training batches to start from: call TextClassifier.start_from_data first"
            )
        return self._own.extra_loss(model)

    def after_step(self, model: nn.Module, step: int) -> None:
        """Makes the type's own changes, such as AdaLoRA's reallocation of ranks."""
        self._own.after_step(model, step)

    def findings(self, model: nn.Module) -> list[str]:
        """Returns what the type has decided, such as the ranks that AdaLoRA's layers have kept."""
        return [*self._own.findings(model), *self._start.findings(self.name)]

    def state(self, model: nn.Module) -> dict[str, Any]:
        """Returns the seed that the adapters were drawn with, and what the type's own part goes on from."""
        state: dict[str, Any] = {"drawn_with": self._drawn_with}
        if (own := self._own.state(model)) is not None:
            state[self._own.name] = own
        return state | self._start.state()

    def rebuilds_for(self, state: Mapping[str, Any]) -> bool:
        """Takes over the seed of a checkpoint's adapters, and their start; tells whether to build the model anew."""
        before, self._drawn_with = self._drawn_with, state["drawn_with"]
        starts_elsewhere = self._start.rebuilds_for(state)
        return starts_elsewhere or before != self._drawn_with

    def restore(self, model: nn.Module, state: Mapping[str, Any]) -> None:
        """Restores what the type's own part goes on from."""
        own = state.get(self._own.name)
        if own is not None:
            self._own.restore(model, own)

    def save_adapter(self, model: nn.Module, folder: Path, untrained: Callable[[], nn.Module]) -> None:
        """Saves the adapter; PiSSA's and OLoRA's, which change the backbone, as a LoRA of twice the rank beside it.

        PEFT computes what such a start took out of the backbone anew at every loading, and PiSSA's fast form
        (`pissa_niter_N`) draws it: under another seed the reloaded model is silently another one.
        """
        with warnings.catch_warnings():
            # A layer that AdaLoRA has left no rank. PEFT takes it for one whose weights were not gathered.
            warnings.filterwarnings("ignore", message=r"Adapter .* LoRA tensor\(s\) have invalid shape")
            super().save_adapter(model, folder, untrained)
        start = start_in_backbone(self.arguments)
        if start is None:
            return
        if packed_as(model.get_base_model()) is not None:  # type: ignore[operator]
            # What is left of the backbone was quantised again. Beside other quantised weights it would be another.
            if "niter" in start:
                raise UserError(
                    f"{start} on a quantised backbone is drawn anew at every loading: use ",
                    Setting("format", "merged"),
                )
            return
        with TemporaryDirectory() as before:
            super().save_adapter(untrained(), Path(before), untrained)
            as_plain_lora(folder, Path(before))

    def _configuration(self, model: PreTrainedModel) -> PeftConfig:
        cls = configuration_class(self.peft_type)
        fields = {field.name for field in dataclasses.fields(cls)}
        # PEFT changes the lists that it is given.
        arguments = copy.deepcopy(self.arguments)
        if "target_modules" in fields:
            targets, note = layers_to_adapt(model, self.peft_type, arguments.pop("target_modules", None))
            if targets is not None:
                arguments["target_modules"] = targets
            self.notes += [note] if note and note not in self.notes else []
        for name in SEEDS:
            if name in fields and name not in arguments:
                arguments[name] = self._drawn_with
        self._start.add_argument(arguments)
        return cls(**arguments, **self._own.follows_from_run)


@contextlib.contextmanager
def _drawing_under(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _reason(error: BaseException) -> str:
    message = " ".join(str(error).split()).rstrip(".")
    return message[:200] or type(error).__name__
