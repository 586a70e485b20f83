"""The new modules of a loaded model: its classification head, and the modules that its checkpoint did not hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import nn

from peft_lightning.backbone.plain_weights import refuse_foreign_tensors
from peft_lightning.errors import UserError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# Entries of an exported model's config.json: above which probabilities labels are answered, by their names, and the
# temperature that its head has been divided by.
DECISION_THRESHOLDS, FOLDED_TEMPERATURE = "decision_thresholds", "folded_temperature"
_NEWLY_INITIALISED = "_newly_initialised_modules"
_LOADING_NOTES = "_loading_notes"
_HEAD_IS_NEW = "_head_is_new"
# A checkpoint that fills less than half of the encoder is one of another architecture.
_FOREIGN_SHARE = 0.5


def take_stock(model: PreTrainedModel, info: dict[str, Any], name_or_path: str, notes: list[str]) -> None:
    """Records on the model which modules the checkpoint did not fill: they must be trained, never frozen.

    Args:
        model: A model just loaded.
        info: transformers' loading info: missing and mismatched keys.
        name_or_path: The backbone's name as the user wrote it.
        notes: What has been done differently from what was asked so far, a sentence each.

    Raises:
        UserError: The weights are those of another architecture, or not plain ones.
    """
    refuse_foreign_tensors(info["unexpected_keys"], name_or_path)
    missing = set(info["missing_keys"])
    other_size = {key for key, *_ in info["mismatched_keys"]}
    head = _head(model)
    inside = {name for name in missing | other_size if not _belongs(name, head)}
    encoder = [name for name, _ in model.base_model.named_parameters()]
    wrong = sorted(other_size & inside)
    if wrong or len(inside) > _FOREIGN_SHARE * len(encoder):
        what = f"{wrong[0]} has another shape" if wrong else f"{len(inside)} of {len(encoder)} are missing"
        raise UserError(f"{name_or_path}: the weights do not belong to its config.json ({what})")
    new = sorted({name.rpartition(".")[0] for name in inside})
    notes = list(notes)
    if new:
        notes.append(f"not in the checkpoint of {name_or_path}, so trained from scratch: {', '.join(new)}")
    if other_size - inside:
        notes.append(f"{name_or_path} holds a head for another number of classes: the head starts afresh")
    if not any(_belongs(key, head) for key in missing | other_size) and (past := _past_of_head(model)):
        notes.append(f"the head in the checkpoint of {name_or_path} {past}: training goes on from it")
    setattr(model, _NEWLY_INITIALISED, new)
    setattr(model, _HEAD_IS_NEW, any(_belongs(key, head) for key in missing | other_size))
    setattr(model, _LOADING_NOTES, notes)


def head_modules(model: PreTrainedModel) -> list[str]:
    """Returns the modules that every method trains: the classification head, and those that the checkpoint lacked.

    Args:
        model: What ``Backbone.load`` returned.

    Returns:
        Full names, such as ``["pre_classifier", "classifier"]`` or ``["classifier", "bert.pooler.dense"]``.
    """
    new: list[str] = getattr(model, _NEWLY_INITIALISED, [])
    return _head(model) + new


def loading_notes(model: nn.Module) -> list[str]:
    """Returns what was done differently from what was asked when the backbone was loaded, a sentence each."""
    notes: list[str] = getattr(model, _LOADING_NOTES, [])
    return list(notes)


def name_outputs(model: nn.Module, problem_type: str, names: Sequence[str]) -> None:
    """Writes into a model's configuration what its outputs are, for those who load it later.

    Args:
        model: The loaded model, adapted or not.
        problem_type: The task; one that transformers does not know is left out.
        names: The name of each output.
    """
    from transformers import PreTrainedModel

    config: Any = next((module.config for module in model.modules() if isinstance(module, PreTrainedModel)), None)
    if config is None:
        return
    describe_outputs(config, problem_type, names)


def describe_outputs(config: PretrainedConfig, problem_type: str, names: Sequence[str]) -> None:
    """Writes into a configuration what a model's outputs are.

    Args:
        config: The configuration; it is changed in place.
        problem_type: The task; one that transformers does not know is left out, since it refuses the configuration.
        names: The name of each output.
    """
    config.problem_type = next((known for known in _PROBLEM_TYPES if known == problem_type), None)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: number for number, name in enumerate(names)}


# transformers' own words.
_ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]
_PROBLEM_TYPES: tuple[_ProblemType, ...] = get_args(_ProblemType)


def start_head(model: PreTrainedModel, means: Sequence[float], scales: Sequence[float]) -> None:
    """Lets a new head answer about the mean of the labels, with their spread; a head that was trained stays.

    The outputs stay the numbers themselves: everything below the last layer learns as it would if labels had mean 0 and
    spread 1, whatever their unit.

    Args:
        model: What ``Backbone.load`` returned.
        means: Mean of each output's labels.
        scales: Standard deviation of each output's labels.
    """
    if not getattr(model, _HEAD_IS_NEW, True):
        return
    modules = dict(model.named_modules())
    layers = [
        layer
        for name in _head(model)
        for layer in modules[name].modules()
        if isinstance(layer, nn.Linear) and layer.out_features == len(means)
    ]
    if not layers:
        return
    last = layers[-1]
    with torch.no_grad():
        last.weight.mul_(torch.tensor(scales).unsqueeze(1))
        if last.bias is not None:
            last.bias.copy_(torch.tensor(means))


def divide_head(model: nn.Module, outputs: int, temperature: float) -> None:
    """Divides the last layer of a trained head, so that its logits are those of a temperature.

    Args:
        model: The loaded model, adapted or not; it is changed in place.
        outputs: Number of outputs.
        temperature: What to divide by.

    Raises:
        UserError: The head does not end in a linear layer of its own.
    """
    last: Any = last_trained_layer(model, outputs)
    if last is None:
        from transformers import PreTrainedModel

        network = next(module for module in model.modules() if isinstance(module, PreTrainedModel))
        raise UserError(
            f"the head of {network.config.model_type} does not end in a linear layer that was trained, so the"
            " temperature has no place in it: answer with the run itself, by predict or serve"
        )
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.div_(temperature)


def last_trained_layer(model: nn.Module, outputs: int) -> nn.Linear | None:
    """Finds the linear layer that a head ends in; None if the head ends in none of its own that is trained.

    Args:
        model: The loaded model, adapted or not.
        outputs: Number of outputs.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from transformers import PreTrainedModel

    network = next((module for module in model.modules() if isinstance(module, PreTrainedModel)), None)
    if network is None:
        return None
    modules = dict(network.named_modules())
    inside = [name for name, module in modules.items() if isinstance(module, BaseTunerLayer)]
    # Beside what was trained PEFT keeps a frozen copy of the head.
    layers = [
        layer
        for name, layer in modules.items()
        if isinstance(layer, nn.Linear)
        and layer.out_features == outputs
        and layer.weight.requires_grad
        and any(name == head or _belongs(name, [head]) for head in _head(network))
        and not any(_belongs(name, [adapted]) for adapted in inside)
    ]
    return layers[-1] if layers else None


def add_loading_note(model: nn.Module, note: str) -> None:
    """Adds what was done differently after the model was loaded.

    Args:
        model: What ``Backbone.load`` returned.
        note: A sentence.
    """
    setattr(model, _LOADING_NOTES, [*loading_notes(model), note])


def _past_of_head(model: PreTrainedModel) -> str:
    """Says what a stored head was trained for; empty where config.json does not tell."""
    stated: object = model.config.architectures
    architectures = [name for name in stated if isinstance(name, str)] if isinstance(stated, list) else []
    if architectures and not any("SequenceClassification" in name for name in architectures):
        return f"is that of {architectures[0]}"
    names = [str(name) for name in (model.config.id2label or {}).values()]
    if all(name.startswith("LABEL_") for name in names):
        return ""
    return f"was trained for {', '.join(names)}"


def _head(model: PreTrainedModel) -> list[str]:
    return [
        name
        for name, child in model.named_children()
        if name != model.base_model_prefix and any(True for _ in child.parameters())
    ]


def _belongs(parameter_name: str, modules: Iterable[str]) -> bool:
    return any(parameter_name.startswith(f"{module}.") for module in modules)
