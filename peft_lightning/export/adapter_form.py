"""An adapter as plain PEFT loads it, and the backbone beside it where no user could name that otherwise."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.locations import EMBEDDED, EMBEDDED_FOLDER, quiet_transformers
from peft_lightning.backbone.quantised import packed_as
from peft_lightning.backbone.weight_files import weight_files
from peft_lightning.export.loading_code import LoadingCode, adapter_code
from peft_lightning.export.model_files import describe_task
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.runs.given_paths import given_path
from peft_lightning.task import Task

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

BASE = "base"


def write_adapter(module: TextClassifier, task: Task, folder: Path, with_base: bool) -> tuple[LoadingCode, list[str]]:
    """Writes an adapter.

    Args:
        module: The trained module.
        task: What it was trained for.
        folder: The export's folder.
        with_base: Whether a backbone that is a local folder is copied beside the adapter.

    Returns:
        How to load it, and notes for its user.

    Raises:
        UserError: The method has no adapter, or PEFT has no form for it.
    """
    module.save_adapter(folder)
    (folder / "README.md").unlink(missing_ok=True)  # PEFT's own card, which says nothing
    adapted: Any = module.model
    network = cast("PreTrainedModel", adapted.get_base_model())
    config = _plain(network.config, task)
    config.save_pretrained(str(folder))
    name, revision = module.model_name_or_path, module.backbone_identity["revision"]
    packed = packed_as(network)
    local = given_path(name)
    beside = name == EMBEDDED or (with_base and local.is_dir()) or _embeddings_are_packed(module)
    notes: list[str] = []
    if beside:
        _write_base(module, task, config, folder / BASE)
        base, revision = None, None
        notes.append(f"the backbone lies beside the adapter, in {BASE}/, since the hub does not have it")
    elif local.is_dir():
        base, revision = str(local.resolve()), None
        notes.append(f"it needs the backbone in {base}: --with_base copies that beside it")
    else:
        base = name
    _name_base(folder / "adapter_config.json", BASE if base is None else base, revision)
    if packed is not None:
        notes.append("its backbone was quantised in training: load it so, as the lines do, for the same answers")
    return adapter_code(base, revision, packed), notes


def _plain(config: PretrainedConfig, task: Task) -> PretrainedConfig:
    """Returns a copy of a configuration without quantisation, for the labels of a task."""
    plain = copy.deepcopy(config)
    if hasattr(plain, "quantization_config"):
        del plain.quantization_config
    describe_task(plain, task)
    return plain


def _embeddings_are_packed(module: TextClassifier) -> bool:
    """Tells whether the word embeddings are in four bits, which plain transformers cannot load them in."""
    network: Any = module.model
    return type(network.get_base_model().get_input_embeddings()).__name__ == "FrozenEmbedding4bit"


def _write_base(module: TextClassifier, task: Task, config: PretrainedConfig, folder: Path) -> None:
    """Writes the backbone: its files as they are, or with the values that word embeddings in four bits stand for."""
    if _embeddings_are_packed(module):
        from peft_lightning.backbone.dequantised import dequantise

        quantised: Any = module.model
        table = copy.deepcopy(quantised.get_base_model().get_input_embeddings())
        plain = Backbone(module.model_name_or_path, module.revision).load(task.num_outputs)
        plain.set_input_embeddings(table)
        dequantise(plain)
        plain.config = config
        with quiet_transformers():
            plain.save_pretrained(str(folder))
        return
    folder.mkdir()
    source = EMBEDDED_FOLDER if module.model_name_or_path == EMBEDDED else given_path(module.model_name_or_path)
    index = [file for file in source.glob("*.index.json") if file.is_file()]
    for file in {*weight_files(source), *index}:
        shutil.copyfile(file, folder / file.name)
    config.save_pretrained(str(folder))


def _name_base(path: Path, base: str, revision: str | None) -> None:
    """Names the backbone in the adapter's configuration as its user can load it, at the commit that was trained on."""
    content = json.loads(path.read_text(encoding="utf-8"))
    content |= {"base_model_name_or_path": base, "revision": revision}
    if content.get("modules_to_save"):  # PEFT adds the usual names of a head once more
        content["modules_to_save"] = list(dict.fromkeys(content["modules_to_save"]))
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
