"""A run in the layout of PEFT's ``method_comparison``: the sections ``run_info``, ``train_info`` and ``meta_info``.

The layout is that of the results in github.com/huggingface/peft, ``method_comparison/MetaMathQA/results``.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from typing import Any

from peft_lightning.compare.report.hiding import NOTHING, Hiding
from peft_lightning.compare.report.study import Recipe, Run, State, Study
from peft_lightning.recipes import Config
from peft_lightning.runs.curves import Curves
from peft_lightning.runs.record import RunRecord
from peft_lightning.task import Metric

GIB = 2**30
# PEFT's words for how a run ended. Its application shows successes only.
STATUS: dict[State, str] = {"finished": "success", "failed": "failed"}
STOPPED = "canceled"
PACKAGES = ("transformers", "peft", "datasets", "bitsandbytes", "torch")
# PEFT's words for the number of bits in which the backbone lies.
DTYPES = {"nf4": "int4", "fp4": "int4", "int8": "int8"}


def as_result(
    study: Study,
    recipe: Recipe,
    run: Run,
    record: RunRecord,
    hide: Hiding = NOTHING,
    in_place_of_null: int | None = None,
) -> dict[str, Any]:
    """Returns a run in PEFT's layout.

    Args:
        study: The runs, for their task.
        recipe: The run's recipe.
        run: The run.
        record: Its record.
        hide: Changes texts and settings that may contain paths of this machine.
        in_place_of_null: The number for a cost that was not measured; None for ``null``.
    """

    def figure(value: float | None) -> float | None:
        return in_place_of_null if value is None else value

    config = run.config or {}
    time, memory, params = record.time, record.memory, record.params
    seconds = (time.startup_s, time.train_s, time.eval_s)
    total = None if None in seconds else sum(value for value in seconds if value is not None)
    history = _history(run, study.task.headline)
    return {
        "run_info": {
            "created_at": None,
            "total_time": figure(total),
            "experiment_name": f"{record.method}/{recipe.label}-seed_{run.seed}",
            "peft_branch": None,
            "train_config": _train_config(record, config, hide),
            "peft_config": _peft_config(record, config, hide),
            "error_msg": hide.text(run.error or ""),
        },
        "train_info": {
            # torch's reserved memory: its largest value is recorded, its course over the steps is not.
            "accelerator_memory_reserved_avg": figure(None),
            "accelerator_memory_max": figure(_bytes(memory.train_peak_reserved_gib)),
            "accelerator_memory_reserved_99th": figure(None),
            "train_time": figure(time.train_s),
            "file_size": figure(record.checkpoint_bytes),
            "num_trainable_params": figure(params.trainable if params else None),
            "num_total_params": figure(params.total + params.adapter if params else None),
            "status": STATUS.get(run.state, STOPPED),
            "metrics": [*_validations(history), _test(study, record, history, figure)],
        },
        "meta_info": {
            "model_info": {"sha": record.backbone.revision if record.backbone else None, "created_at": None},
            "dataset_info": _dataset_info(record, hide),
            "package_info": _package_info(record),
            "system_info": {
                **dict.fromkeys(("system", "release", "version", "machine", "processor")),
                "accelerator": record.environment.device if record.environment else None,
            },
            "pytorch_info": None,
        },
    }


def _train_config(record: RunRecord, config: Config, hide: Hiding) -> dict[str, Any]:
    """Returns the settings under PEFT's names; null where a setting has no counterpart here."""
    model, data, trainer = (_section(config, name) for name in ("model", "data", "trainer"))
    precision = record.environment.precision if record.environment else None
    widths = model.get("quantization"), model.get("backbone_dtype")
    settings = {
        "model_id": hide.value(record.backbone.name) if record.backbone else None,
        "dtype": next((DTYPES.get(width, width) for width in widths if isinstance(width, str)), None),
        "max_seq_length": record.dataset.max_length if record.dataset else None,
        "batch_size": record.engine.global_batch_size or data.get("batch_size"),
        "batch_size_eval": data.get("eval_batch_size"),
        "max_steps": record.time.steps,
        "eval_steps": None,
        "compile": None if record.engine.name is None else record.engine.name == "compile",
        "use_gc": model.get("gradient_checkpointing"),
        "query_template": None,
        "seed": record.seed,
        "grad_norm_clip": trainer.get("gradient_clip_val"),
        "optimizer_type": model.get("optimizer"),
        "optimizer_kwargs": {"lr": model.get("learning_rate"), "weight_decay": model.get("weight_decay")},
        "lr_scheduler": model.get("schedule"),
        "use_amp": None if precision is None else precision.endswith("mixed"),
        "autocast_adapter_dtype": None,
        "generation_kwargs": None,
        "attn_implementation": model.get("attn_implementation"),
    }
    return {name: _plain(value) for name, value in settings.items()}


def _peft_config(record: RunRecord, config: Config, hide: Hiding) -> dict[str, Any] | None:
    """Returns the method's arguments with its type; None for a run that trained all parameters, as PEFT has it."""
    if record.params is not None and record.params.trainable == record.params.total:
        return None
    method = _section(_section(config, "model"), "method")
    arguments = dict(_section(method, "init_args"))
    # A configuration in PEFT's own words names its type; other methods are types of their own.
    stated = arguments.pop("config", None)
    words = dict(stated) if isinstance(stated, Mapping) else {}
    peft_type = words.pop("peft_type", None) or record.method.upper()
    return {"peft_type": peft_type, **{name: _plain(hide.value(value)) for name, value in (arguments | words).items()}}


def _history(run: Run, metric: Metric) -> Curves | None:
    if run.history is None:
        return None
    curves = Curves(run.history, metric)
    try:
        curves.read()
    except (OSError, ValueError, csv.Error):
        return None
    return curves


def _validations(history: Curves | None) -> list[dict[str, Any]]:
    """Returns an entry for each validation."""
    measured = history.points(history.metric.validation) if history is not None else None
    if history is None or measured is None:
        return []
    name = f"valid {history.metric.name}"
    return [{"step": int(step), name: float(value)} for step, value in zip(*measured, strict=True)]


def _test(study: Study, record: RunRecord, history: Curves | None, figure: Any) -> dict[str, Any]:
    """Returns the last entry, which PEFT's application reads."""
    metric = study.task.headline
    losses = history.points("train/loss") if history is not None else None
    samples = None
    if record.time.samples_per_s is not None and record.time.train_s is not None:
        samples = round(record.time.samples_per_s * record.time.train_s)
    return {
        "step": record.time.steps,
        f"test {metric.name}": record.metrics.get(metric.test),
        "train loss": float(losses[1][-1]) if losses is not None else None,
        "train samples": figure(samples),
        "train total tokens": figure(None),
    }


def _dataset_info(record: RunRecord, hide: Hiding) -> dict[str, Any]:
    if record.dataset is None:
        return {}
    return {
        str(hide.value(record.dataset.source)): {
            "sha": None,
            "created_at": None,
            "fingerprint": record.dataset.fingerprint,
        }
    }


def _package_info(record: RunRecord) -> dict[str, str | None]:
    info: dict[str, str | None] = {}
    for package in PACKAGES:
        info[f"{package}-version"] = getattr(record.environment, package, None)
        info[f"{package}-commit-hash"] = None
    return info


def _plain(value: object) -> object:
    """Returns a setting as JSON has it: what is no number there, such as infinity, becomes a text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, Mapping) else {}


def _bytes(gib: float | None) -> int | None:
    return None if gib is None else round(gib * GIB)
