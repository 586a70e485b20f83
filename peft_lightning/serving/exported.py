"""Loads what others load too: an adapter, a whole model or an ONNX model, with its tokenizer, from its folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast, get_args

import torch
from torch import Tensor

from peft_lightning.backbone.architectures import longest_input
from peft_lightning.backbone.heads import DECISION_THRESHOLDS
from peft_lightning.backbone.locations import first_line, locate, quiet_transformers
from peft_lightning.data.review_tokeniser import ReviewTokeniser
from peft_lightning.data.text_windows import WINDOWS
from peft_lightning.data.truncation import Truncation
from peft_lightning.errors import Setting, UserError
from peft_lightning.module.mean_logits import mean_of_windows
from peft_lightning.serving.answerer import Answerer, fastest_device
from peft_lightning.task import Task, task_named
from peft_lightning.task.calibration import Calibration

# Longer than any model's limit: tokenizers that state none say 10**30.
_NO_LIMIT = 10**6
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class _Network:
    """A model in memory.

    Args:
        logits: Runs it on a batch.
        device: Where it computes.
        limit: The longest text that it takes, in tokens; None where its files do not say.
        name: What it was made of.
        method: How it was trained, or its form.
    """

    logits: Callable[[Mapping[str, Any]], Tensor]
    device: torch.device
    limit: int | None
    name: str
    method: str


def load_export(folder: Path, device: torch.device | None) -> Answerer:
    """Loads an export, or another folder as transformers, PEFT and torch's ONNX exporter write it.

    Args:
        folder: The folder.
        device: Where it is to compute; None for a GPU if there is one that can run it.

    Raises:
        UserError: It cannot be loaded, or only by executing code of its own.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: name a run, such as lightning_logs/lora/version_0, or an export")
    has_onnx = (folder / "model.onnx").is_file()
    if not (folder / "config.json").is_file():
        what = (
            "an ONNX model and no config.json, which names its labels"
            if has_onnx
            else "no run (config.yaml) and no export (config.json)"
        )
        raise UserError(f"{folder} holds {what}: name a run's directory or an export")
    is_adapter = (folder / "adapter_config.json").is_file()
    weights = "adapter_model.safetensors" if is_adapter else "model*.safetensors"
    has_weights = any(folder.glob(weights))
    if not has_weights and not has_onnx:
        raise UserError(f"{folder} holds no {weights}: files of other formats could execute code, and are not loaded")
    report = _read(folder / "export.json")
    with quiet_transformers():
        try:
            from transformers import AutoConfig

            config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
            if not has_weights:
                network = _onnx(folder, config, device)
            elif is_adapter:
                network = _adapter(folder, config, report, device or fastest_device())
            else:
                network = _merged(folder, config, device or fastest_device())
        except UserError:
            raise
        # Several libraries read these files, each with exceptions of its own.
        except Exception as error:
            raise UserError(f"{folder} cannot be loaded ({first_line(error)}): export the run again") from error
    stated = _read(folder / "tokenizer_config.json")
    limit = min(_NO_LIMIT if longest is None else longest for longest in (network.limit, _stated_limit(stated)))
    shared = report.get("window_stride")
    stride = shared if isinstance(shared, int) else None
    tokeniser = ReviewTokeniser(str(folder), None, limit, _truncation(report, stated), None, window_stride=stride)
    pairs = report.get("in_pairs")
    description = {"model": network.name, "method": network.method, "weights": str(folder)}
    return Answerer(
        _task_of(config, folder),
        tokeniser,
        lambda batch: mean_of_windows(network.logits, batch) if WINDOWS in batch else network.logits(batch),
        network.device,
        limit,
        description,
        pairs if isinstance(pairs, bool) else None,
    )


def _merged(folder: Path, config: Any, device: torch.device) -> _Network:
    packed = bool(getattr(config, "quantization_config", None))
    return _in_torch(_pretrained(folder, config, device, packed), device, str(folder), "merged")


def _pretrained(source: Path | str, config: Any, device: torch.device, packed: bool, **more: Any) -> Any:
    from transformers import AutoModelForSequenceClassification

    # Packed weights go to the first GPU otherwise, and of those in eight bits the scales would stay there.
    placed = {"device_map": {"": device}} if packed else {}
    model = AutoModelForSequenceClassification.from_pretrained(
        source, config=config, use_safetensors=True, trust_remote_code=False, **placed, **more
    )
    if packed:
        from peft_lightning.backbone.cpu_dequantising import unpack_as_trained

        unpack_as_trained(model)
    return model


def _adapter(folder: Path, config: Any, report: dict[str, Any], device: torch.device) -> _Network:
    from peft import PeftModel
    from transformers import BitsAndBytesConfig

    settings = _read(folder / "adapter_config.json")
    name, revision = str(settings["base_model_name_or_path"]), settings.get("revision")
    # A backbone that no hub has lies beside its adapter, and is named from there.
    beside = folder / name
    base = str(beside) if (beside / "config.json").is_file() else locate(name)
    packed = report.get("quantization_config")
    # The adapter was trained beside these rounded values.
    more: dict[str, Any] = {"quantization_config": BitsAndBytesConfig(**packed)} if packed else {}
    pretrained = _pretrained(base, config, device, bool(packed), revision=revision, **more)
    model = PeftModel.from_pretrained(pretrained, str(folder))
    return _in_torch(model, device, name, str(settings["peft_type"]).lower())


def _in_torch(model: Any, device: torch.device, name: str, method: str) -> _Network:
    model = model.to(device).eval()
    return _Network(lambda batch: model(**batch).logits, device, longest_input(model), name, method)


def _onnx(folder: Path, config: Any, device: torch.device | None) -> _Network:
    if find_spec("onnxruntime") is None:
        raise UserError("an ONNX model needs onnxruntime: pip install 'peft-lightning[onnx]'")
    if device not in (None, _CPU):
        raise UserError(
            f"{folder} is an ONNX model, which is computed on the CPU: use ",
            Setting("device", "cpu"),
            ", or serve the run or a merged export of it",
        )
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    taken = {given.name for given in session.get_inputs()}

    def logits(batch: Mapping[str, Any]) -> Tensor:
        feed = {name: values.numpy() for name, values in batch.items() if name in taken}
        return torch.from_numpy(session.run(None, feed)[0])

    # The table of positions is in the graph; the tokenizer of an export states the run's length.
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    return _Network(logits, _CPU, limit if isinstance(limit, int) and limit > 0 else None, str(folder), "onnx")


def _read(path: Path) -> dict[str, Any]:
    """Reads a JSON file with named values; what is missing or broken holds none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _truncation(report: dict[str, Any], stated: dict[str, Any]) -> Truncation:
    """Returns how the run cut its texts, or else how the tokenizer does by itself."""
    kept = report.get("truncation")
    if kept in get_args(Truncation):
        return cast("Truncation", kept)
    return "tail" if stated.get("truncation_side") == "left" else "head"


def _stated_limit(stated: dict[str, Any]) -> int | None:
    """Returns the number of tokens that a folder's tokenizer cuts texts to."""
    limit = stated.get("model_max_length")
    return int(limit) if isinstance(limit, int | float) and 0 < limit < _NO_LIMIT else None


def _task_of(config: Any, folder: Path) -> Task:
    names = [config.id2label[number] for number in range(config.num_labels)]
    kind = task_named(config.problem_type or "single_label_classification")
    try:
        task = kind.of_outputs(names)
        stated = getattr(config, DECISION_THRESHOLDS, None)
        if stated is None:
            return task
        # An export's head answers with the temperature already; its thresholds can only be stated.
        thresholds = tuple(float(stated[name]) for name in names if name in stated)
        if len(thresholds) != len(task.calibrated(Calibration(thresholds=thresholds)).named_thresholds()):
            raise KeyError(DECISION_THRESHOLDS)
        return task.calibrated(Calibration(thresholds=thresholds))
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(f"{folder} does not say what its outputs mean ({error}): export the run again") from error
