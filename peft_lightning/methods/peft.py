"""Any method of PEFT's, by the configuration that PEFT has for it."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from peft_lightning.backbone.architectures import recomputes_activations
from peft_lightning.backbone.loading import head_modules
from peft_lightning.backbone.quantised import packed_as
from peft_lightning.errors import Placeholder, Setting, UserError
from peft_lightning.methods import adalora
from peft_lightning.methods.base import Method
from peft_lightning.methods.injection import inject_adapters
from peft_lightning.methods.peft_types import (
    BOOKKEEPING,
    NOT_QUANTISED,
    PROMPTS,
    SEEDS,
    check_arguments,
    classifying_types,
    configuration_class,
    default_targets,
)

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel

    from peft_lightning.backbone.loading import Backbone

# The seeds that PEFT's types take are 32-bit numbers.
_SEED_RANGE = 2**31
# LoRA's starts that take the adapter's first weights out of the backbone's.
_STARTS_IN_BACKBONE = ("pissa", "olora")


class PEFT(Method):
    """Trains the adapters of any type that PEFT offers for classification (github.com/huggingface/peft).

    Args:
        config: The type and its arguments in PEFT's own words, such as `{peft_type: VERA, r: 256}`; or an
            `adapter_config.json` as PEFT writes it, or the folder that holds one. The layers to adapt are
            `target_modules`; without them PEFT's choice for the architecture, or else all linear layers of the
            encoder.
        adapter_seed: Seed of what the type draws when it starts, frozen projections and masks included; by default
            the seed of the run.

    Raises:
        UserError: There is no such type, it cannot classify texts, or it does not take these arguments.
    """

    def __init__(self, config: dict[str, Any] | str, adapter_seed: int | None = None) -> None:
        super().__init__()
        words = dict(config) if isinstance(config, Mapping) else _read_config(Path(config).expanduser())
        peft_type = words.pop("peft_type", None)
        if not isinstance(peft_type, str):
            raise UserError("the method has no type: name it with ", Setting("model.method.config.peft_type", "VERA"))
        self.peft_type = peft_type.upper()
        self._whole = words.get("modules_to_save")
        self.arguments: dict[str, Any] = {name: value for name, value in words.items() if name not in BOOKKEEPING}
        if self.peft_type == "ADALORA":
            self.arguments.pop("total_step", None)  # it follows from the length of the run
        check_arguments(configuration_class(self.peft_type), self.peft_type, self.arguments)
        self.config = {"peft_type": self.peft_type, **self.arguments}
        self.adapter_seed = adapter_seed
        self.reads_gradients = self.peft_type == "ADALORA"
        self._drawn_with: int | None = None

    @property
    def name(self) -> str:
        """The type in lower case, such as ``vera``."""
        return self.peft_type.lower()

    def load_backbone(self, backbone: Backbone, num_labels: int) -> PreTrainedModel:
        """Loads the encoder; quantised layers are refused where the type cannot be put beside them."""
        bits = None if backbone.quantisation is None else backbone.quantisation.bits
        if bits is not None and self.peft_type in NOT_QUANTISED[bits]:
            can = ", ".join(kind for kind in classifying_types() if kind not in NOT_QUANTISED[bits])
            raise UserError(
                f"{self.peft_type} cannot be put beside layers in {bits} ({can} can): leave ",
                Setting("model.quantization"),
                " out",
            )
        return super().load_backbone(backbone, num_labels)

    def adapt(self, model: PreTrainedModel) -> nn.Module:
        """Freezes the encoder and adds the type's adapters.

        Args:
            model: What ``load_backbone`` returned; it is changed in place.

        Returns:
            The PEFT model.

        Raises:
            UserError: The type does not go with the architecture or with its arguments.
        """
        self._refuse_combinations(model)
        if self._drawn_with is None:
            seed = torch.initial_seed() if self.adapter_seed is None else self.adapter_seed
            self._drawn_with = seed % _SEED_RANGE
        # A fork, so that the draws of a type change neither the order of the data nor dropout, and so that a
        # checkpoint is rebuilt from this one number under any seed.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._drawn_with)
            try:
                adapted = inject_adapters(model, self._configuration(model))
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
        return adapted

    def before_training(self, model: nn.Module, total_steps: int) -> None:
        """Sets the length of AdaLoRA's schedule."""
        if self.peft_type == "ADALORA":
            adalora.set_length(model, total_steps)

    def extra_loss(self, model: nn.Module) -> Tensor | None:
        """Computes AdaLoRA's penalty."""
        return adalora.orthogonality(model) if self.peft_type == "ADALORA" else None

    def after_step(self, model: nn.Module, step: int) -> None:
        """Reallocates AdaLoRA's ranks."""
        if self.peft_type == "ADALORA":
            adalora.allocate(model, step)

    def findings(self, model: nn.Module) -> list[str]:
        """Returns the ranks that AdaLoRA's layers have kept."""
        ranks = adalora.final_ranks(model) if self.peft_type == "ADALORA" else {}
        if not ranks:
            return []
        return ["ranks kept: " + ", ".join(f"{layer} {rank}" for layer, rank in ranks.items())]

    def state(self, model: nn.Module) -> dict[str, Any]:
        """Returns the seed that the adapters were drawn with, and AdaLoRA's memory of its weights."""
        own = adalora.state(model) if self.peft_type == "ADALORA" else None
        return {"drawn_with": self._drawn_with, "adalora": own}

    def rebuilds_for(self, state: Mapping[str, Any]) -> bool:
        """Takes over the seed of a checkpoint's adapters; tells whether the model has to be built anew with it."""
        before, self._drawn_with = self._drawn_with, state["drawn_with"]
        return before != self._drawn_with

    def restore(self, model: nn.Module, state: Mapping[str, Any]) -> None:
        """Restores AdaLoRA's memory of its weights."""
        if state["adalora"] is not None:
            adalora.restore(model, state["adalora"])

    def save_adapter(self, model: nn.Module, folder: Path, untrained: Callable[[], nn.Module]) -> None:
        """Saves the adapter; PiSSA's and OLoRA's, which change the backbone, as a LoRA of twice the rank beside it.

        PEFT computes what such a start took out of the backbone anew at every loading, and PiSSA's fast form
        (`pissa_niter_N`) draws it: under another seed the reloaded model is silently another one.
        """
        super().save_adapter(model, folder, untrained)
        start = self.arguments.get("init_lora_weights")
        if not (isinstance(start, str) and start.lower().startswith(_STARTS_IN_BACKBONE)):
            return
        if packed_as(model.get_base_model()) is not None:  # type: ignore[operator]
            # What is left of the backbone was quantised again. Beside other quantised weights it would be another.
            if "niter" in start:
                raise UserError(
                    f"{start} on a quantised backbone is drawn anew at every loading: use ",
                    Setting("format", "merged"),
                )
            return
        from peft_lightning.methods.plain_lora import as_plain_lora

        with TemporaryDirectory() as before:
            super().save_adapter(untrained(), Path(before), untrained)
            as_plain_lora(folder, Path(before))

    def _configuration(self, model: PreTrainedModel) -> PeftConfig:
        cls = configuration_class(self.peft_type)
        fields = {field.name for field in dataclasses.fields(cls)}
        # PEFT changes the lists that it is given.
        arguments = copy.deepcopy(self.arguments)
        if "target_modules" in fields and arguments.get("target_modules") is None:
            targets, note = default_targets(model, self.peft_type)
            if targets is not None:
                arguments["target_modules"] = targets
            self.notes += [note] if note and note not in self.notes else []
        for name in SEEDS:
            if name in fields and name not in arguments:
                arguments[name] = self._drawn_with
        if self.peft_type == "ADALORA":
            arguments["total_step"] = adalora.UNKNOWN_LENGTH
        return cls(**arguments)

    def _refuse_combinations(self, model: PreTrainedModel) -> None:
        # PEFT writes the usual names of a head into every file, those that the model lacks too.
        present = {name.rpartition(".")[2] for name, _ in model.named_modules()}
        stray = sorted(set(self._whole or ()) & present - set(head_modules(model)))
        if stray:
            raise UserError(
                f"modules_to_save names {', '.join(stray)}, and a method trains the head whole and nothing else: leave "
                "it out"
            )
        if self.peft_type in PROMPTS and recomputes_activations(model):
            raise UserError(
                f"{self.peft_type} gets no gradient where activations are computed again: leave ",
                Setting("model.gradient_checkpointing"),
                " out",
            )


def _read_config(path: Path) -> dict[str, Any]:
    file = path / "adapter_config.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read {file} ({error}): name an adapter_config.json as PEFT writes it with ",
            Setting("model.method.config", Placeholder("FILE")),
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{file} holds no PEFT configuration: it has to be one JSON object")
    return content


def _reason(error: BaseException) -> str:
    message = " ".join(str(error).split()).rstrip(".")
    return message[:200] or type(error).__name__
