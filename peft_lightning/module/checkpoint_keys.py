"""What a checkpoint says of its model, and whether it fits another: its backbone, its method, the trained weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from peft_lightning.errors import Setting, UserError
from peft_lightning.task import problem_type_in

if TYPE_CHECKING:
    from peft_lightning.methods import Method
    from peft_lightning.task import Task

SCHEMA = 1
# Entries with a comparison and a message of their own; all other entries are the method's and the task's.
SAID_OTHERWISE = {"schema", "backbone", "backbone_dtype"}


def identity_of(
    method: Method, backbone: Mapping[str, str | None], backbone_dtype: str, quantization: str | None, task: Task
) -> dict[str, Any]:
    """Returns what tells a model from any other, as its checkpoints keep it in a section of their own.

    Args:
        method: The method that adapts the backbone.
        backbone: What ``Backbone.identity`` returned.
        backbone_dtype: How the weights below the head are held.
        quantization: What the encoder's linear layers are held in; None where the settings name nothing.
        task: The task with the model's settings.
    """
    return {
        "schema": SCHEMA,
        "method": method.name,
        "method_settings": method.settings,
        "backbone": dict(backbone),
        "backbone_dtype": backbone_dtype,
        "quantization": quantization,
        **task.state(),
    }


def in_present_words(saved: Mapping[str, Any], method: Method) -> dict[str, Any]:
    """Returns what a checkpoint says of its model as this version would say it.

    Variants had the name of what they vary, and an argument that did not exist had the value that is now its default.

    Args:
        saved: The checkpoint's own section.
        method: The method of the model to load into.
    """
    present = dict(saved)
    if present.get("method") in method.former_names:
        present["method"] = method.name
    if present.get("method") == method.name and isinstance(settings := present.get("method_settings"), Mapping):
        present["method_settings"] = {**method.defaults, **settings}
    return present


def identity_refusal(checkpoint: Mapping[str, Any], identity: Mapping[str, Any]) -> UserError | None:
    """Returns the error that says of which other model a checkpoint is.

    Args:
        checkpoint: The content of a checkpoint file.
        identity: The method, backbone and task of the model to load into.

    Returns:
        The error to raise, or None if the checkpoint is of this model.
    """
    saved = checkpoint.get("peft_lightning", {})
    if saved.get("schema") != identity["schema"]:
        return UserError(
            f"the checkpoint is of version {saved.get('schema')} and this program reads version {identity['schema']}"
        )
    # Checkpoints from before there was a choice name neither their problem type nor a quantisation.
    saved = {"problem_type": problem_type_in(saved), "quantization": None, **saved}
    for name in [name for name in identity if name not in SAID_OTHERWISE]:
        if saved.get(name) != identity[name]:
            before, here = _differing(saved.get(name), identity[name])
            return UserError(
                f"the checkpoint was trained with {name} {before} and this configuration says {here}: use the"
                " config.yaml of its run"
            )
    # Checkpoints from before there was a choice have encoders in 32 bits.
    held, asked = saved.get("backbone_dtype", "float32"), identity.get("backbone_dtype", "float32")
    if held != asked:
        return UserError(
            f"the checkpoint was trained on a backbone in {held}: use ",
            Setting("model.backbone_dtype", held),
            f" instead of {asked}",
        )
    theirs, ours = saved.get("backbone", {}), identity["backbone"]
    if theirs.get("sha256") != ours.get("sha256"):
        return UserError(
            f"the checkpoint was trained on the backbone {theirs.get('name')} (sha256 {str(theirs.get('sha256'))[:12]})"
            f" and this one is {ours.get('name')} (sha256 {str(ours.get('sha256'))[:12]}): use the same backbone"
        )
    return None


def weights_refusal(checkpoint: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> UserError | None:
    """Returns the error that names weights of a checkpoint that a model does not train, or the other way round.

    Args:
        checkpoint: The content of a checkpoint file.
        shapes: The shapes of the weights that are trained, by name.

    Returns:
        The error to raise, or None if the weights are the same.
    """
    state = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
    different = sorted(name for name in state.keys() | shapes.keys() if state.get(name) != shapes.get(name))
    if different:
        return UserError(
            f"the checkpoint's weights are not those that this model trains: {len(different)} differ,"
            f" the first is {different[0]}: use the config.yaml of its run"
        )
    return None


def _differing(before: object, here: object) -> tuple[object, object]:
    """Returns two values without what they share, if they are mappings."""
    if not (isinstance(before, Mapping) and isinstance(here, Mapping)):
        return before, here
    names = [name for name in {**before, **here} if before.get(name) != here.get(name)]
    return {name: before.get(name) for name in names}, {name: here.get(name) for name in names}
