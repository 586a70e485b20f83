"""The hyperparameters shown in TensorBoard's HPARAMS tab, under the same names for every method."""

from collections.abc import Mapping
from typing import Any

CHOSEN = {
    "model": ("model_name_or_path", "learning_rate", "schedule", "warmup_ratio", "weight_decay", "optimizer"),
    "data": ("source", "n_train", "n_test", "max_length", "batch_size"),
    "trainer": ("max_epochs", "precision", "accumulate_grad_batches", "gradient_clip_val"),
}


def hyperparameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Picks and flattens the settings worth comparing runs by.

    Returns:
        Plain values by name; the method's class is ``method`` and its arguments are ``method/NAME``.
    """
    method = config["model"]["method"]
    chosen: dict[str, Any] = {
        "method": method["class_path"].rsplit(".", 1)[-1],
        "seed": config["seed_everything"],
        "data_seed": config["data"]["seed"],
        "gradient_checkpointing": config["model"]["gradient_checkpointing"],
    }
    chosen |= {f"method/{name}": _plain(value) for name, value in (method.get("init_args") or {}).items()}
    for section, names in CHOSEN.items():
        chosen |= {name: _plain(config[section][name]) for name in names}
    return chosen


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)
