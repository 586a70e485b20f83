"""Compares the settings that a checkpoint was trained with and those of a run that is to go on from it."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from peft_lightning.errors import Part, Setting, UserError
from peft_lightning.runs.identity import ALLOWED, WATCHING
from peft_lightning.runs.run_search import newest_unfinished

# Settings that a run may have its own values of, because they do not change what a step computes. How long it trains is
# among them: the record says where it went on and what the schedule was until there.
FREE = {
    # The backbone and the names of classes are compared by what they are, not by what they are called.
    "model.model_name_or_path",
    "model.revision",
    "model.class_names",
    # How a step is computed, and where.
    "model.attn_implementation",
    "model.gradient_checkpointing",
    "data.pad_to_multiple_of",
    "data.num_workers",
    "data.eval_batch_size",
    "data.cache_dir",
    "data.predict_file",
    "engine",
    "memory_limit_gib",
    "checkpoint",
    "early_stopping",
    "calibration",
    "trainer.accelerator",
    "trainer.strategy",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.deterministic",
    "trainer.benchmark",
    "trainer.inference_mode",
    "trainer.detect_anomaly",
    "trainer.plugins",
    "trainer.sync_batchnorm",
    # How long it trains.
    "trainer.max_epochs",
    "trainer.min_epochs",
    "trainer.max_steps",
    "trainer.min_steps",
    "trainer.max_time",
    # When it validates and tests, what it logs and where, and who watches.
    "trainer.val_check_interval",
    "trainer.check_val_every_n_epoch",
    "trainer.limit_val_batches",
    "trainer.limit_test_batches",
    "trainer.limit_predict_batches",
    "trainer.num_sanity_val_steps",
    "trainer.log_every_n_steps",
    "trainer.logger",
    "trainer.callbacks",
    "trainer.profiler",
    "trainer.default_root_dir",
    "trainer.enable_checkpointing",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.enable_autolog_hparams",
    "trainer.model_registry",
    "trainer.barebones",
    "trainer.fast_dev_run",
    "trainer.use_distributed_sampler",
}
# Settings of the data that a fingerprint of its texts and labels does not cover.
BEYOND_FINGERPRINT = {
    *("data.max_length", "data.truncation", "data.window_stride"),
    *("data.add_eos_token", "data.batch_size"),
}
# Two ways to write the same precision, for example 32 and 32-true.
_WRITTEN_ALIKE = {
    "trainer.precision": {
        "32": "32-true",
        "64": "64-true",
        "16": "16-mixed",
        "bf16": "bf16-mixed",
        "None": "32-true",
    },
    "trainer.gradient_clip_val": {"None": "0", "0.0": "0"},
    "trainer.limit_train_batches": {"None": "1.0"},
    "trainer.overfit_batches": {"0.0": "0"},
    "trainer.devices": {},  # a number of a file, text of a flag
}


def precision_in_full(value: object) -> str:
    """Returns a Trainer's precision as Lightning names it.

    >>> precision_in_full(16), precision_in_full("bf16"), precision_in_full(None), precision_in_full("32-true")
    ('16-mixed', 'bf16-mixed', '32-true', '32-true')
    """
    return _WRITTEN_ALIKE["trainer.precision"].get(str(value), str(value))


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of a resolved configuration that a run must share with a checkpoint that it goes on from.

    Returns:
        Plain values by dotted name, as flags have it: without ``init_args``.
    """
    return dict(_flat(config, FREE))


def unlike_the_newest(runs: Path, config: Mapping[str, Any]) -> tuple[Part, ...]:
    """Says in which settings the newest unfinished run differs from a configuration that has none.

    Args:
        runs: The folder of a method's runs.
        config: The resolved configuration.

    Returns:
        The end of an error message in parts; empty where there is no unfinished run.
    """
    run = newest_unfinished(runs)
    try:
        content = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")) if run is not None else None
    except (OSError, ValueError, yaml.YAMLError):
        content = None
    if run is None or not isinstance(content, dict):
        return ()
    left_out = ALLOWED | {f"{section}.{name}" for section, names in WATCHING.items() for name in names}
    before, now = dict(_flat(content, left_out)), dict(_flat(config, left_out))
    changed = _differences(before, now)
    return (f"; {run}, the newest one, has ", *_in_words(changed)) if changed else ()


def changed_settings(
    saved: Mapping[str, Any], asked: Mapping[str, Any], same_texts: bool
) -> dict[str, tuple[Any, Any]]:
    """Finds the settings with which a run would not go on as its checkpoint was trained.

    A setting that only one side has, because a version of the program lacks it, is not compared.

    Args:
        saved: The settings that the checkpoint was trained with, as ``settings_of`` returns them.
        asked: Those of the run that is to go on.
        same_texts: Whether both have the same texts and labels to train, validate and test on. If so, it does not
            matter where they come from.

    Returns:
        For each dotted name, the checkpoint's value and the run's.
    """
    return {
        name: values
        for name, values in _differences(saved, asked).items()
        if not (same_texts and name.startswith("data.") and name not in BEYOND_FINGERPRINT)
    }


def refusal_to_go_on(file: object, changed: Mapping[str, tuple[Any, Any]], same_texts: bool) -> UserError | None:
    """Returns the error that says why a run cannot go on from a checkpoint.

    Args:
        file: The checkpoint's file.
        changed: What ``changed_settings`` returned.
        same_texts: As there.

    Returns:
        The error to raise; None if the run can go on.
    """
    # Files can change where no setting does.
    unnamed = not same_texts and not any(name.startswith("data.") for name in changed)
    if not changed and not unnamed:
        return None
    parts = _in_words(changed, *(("other texts or labels",) if unnamed else ()))
    mend = f"go on with {'that' if len(changed) + unnamed == 1 else 'those'}"
    anew = Setting("ckpt_path")
    return UserError(f"{file} was trained with ", *parts, f": {mend}, or leave ", anew, " out to train anew")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Returns both values of each setting that both sides have and that differs."""
    return {
        name: (before[name], now[name])
        for name in before
        if name in now and _key(name, before[name]) != _key(name, now[name])
    }


def _in_words(changed: Mapping[str, tuple[Any, Any]], *more: str) -> list[Part]:
    differences: list[tuple[Part, ...]] = [
        (Setting(name, before), f" (here {_word(now)})") for name, (before, now) in changed.items()
    ]
    differences += [(words,) for words in more]
    parts: list[Part] = []
    for number, difference in enumerate(differences):
        joint = "" if number == 0 else " and " if number == len(differences) - 1 else ", "
        parts += [joint, *difference]
    return parts


def _flat(node: Mapping[str, Any], left_out: Collection[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        name = prefix.removesuffix(".") if key in ("class_path", "init_args") else f"{prefix}{key}"
        if name in left_out:
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, left_out, f"{name}.")
        elif key == "class_path":
            yield name, str(value).rpartition(".")[2]
        elif key != "init_args":
            yield name, value


def _key(name: str, value: Any) -> Any:
    written_alike = _WRITTEN_ALIKE.get(name)
    return value if written_alike is None else written_alike.get(str(value), str(value))


def _word(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
