"""Finds the settings that differ between recipes beyond the method, and says what that does to a comparison."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peft_lightning.compare.fairness.known_effects import RATE, TRIED, UNKNOWN, WEIGHTS, Weight
from peft_lightning.runs.identity import first_value, written_out

# As many names as a sentence can hold.
NAMED = 8
# The setting that is compared.
METHOD = "model.method"
# Settings that are never reported, because they do not bear on the comparison:
LEFT_OUT = (
    "seed_everything",  # every recipe gets every seed
    # Where results go and what is shown. trainer.log_every_n_steps is reported: to log makes the processor wait.
    "trainer.default_root_dir",
    "trainer.logger",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.enable_autolog_hparams",
    "trainer.model_registry",
    # Tokenised reviews are the same in any folder, and a comparison does not run `predict`.
    "data.cache_dir",
    "data.predict_file",
    # Fitted after training; all metrics that are compared, and the saved answers, are those of the model alone.
    "calibration.temperature",
    "calibration.thresholds",
)


@dataclass(frozen=True)
class SettingDifference:
    """One setting that is not the same in all recipes.

    Args:
        setting: Its dotted name.
        values: Its value in each recipe, by label; None if it is not set.
        weight: What the difference does to the comparison.
    """

    setting: str
    values: dict[str, Any]
    weight: Weight


@dataclass(frozen=True)
class Fairness:
    """The differences between the recipes of a comparison.

    Args:
        recipes: Their labels.
        differences: The differences beyond the method: known confounders first, in the order of the settings.
        shared_rate: The learning rate, if different methods all have the same one; else None.
    """

    recipes: tuple[str, ...]
    differences: tuple[SettingDifference, ...]
    shared_rate: float | None


def compare_settings(
    configs: Mapping[str, Mapping[str, Any]], rates_tried: Mapping[str, int] | None = None
) -> Fairness:
    """Finds every setting that differs between recipes beyond the method.

    Args:
        configs: The resolved settings of each recipe, as in a run's ``config.yaml``, by label.
        rates_tried: Number of learning rates tried for each recipe, by label; None if it was not recorded.
    """
    rows = _rows(configs, (METHOD, *LEFT_OUT))
    tried = {label: (rates_tried or {}).get(label) for label in configs}
    if rates_tried is not None:
        rows[TRIED] = tried
    differences = [
        SettingDifference(name, values, _weight(name, tried)) for name, values in rows.items() if _differ(values)
    ]
    differences.sort(key=lambda difference: not difference.weight.touches)
    methods = {label: config["model"]["method"]["class_path"] for label, config in configs.items()}
    rates = rows.get(RATE, {})
    shared = rates and _differ(methods) and not _differ(rates)
    return Fairness(tuple(configs), tuple(differences), next(iter(rates.values())) if shared else None)


def unequal_settings(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Finds the settings that differ between runs that should have the same ones, the method's included.

    Args:
        configs: The resolved settings of each run, by the run's name.

    Returns:
        For each dotted name of a setting, its value in each run; None if it is not set.
    """
    return {name: values for name, values in _rows(configs, LEFT_OUT).items() if _differ(values)}


def headline(fairness: Fairness) -> str:
    """Says in a sentence how many settings differ between the recipes beyond the method."""
    count = len(fairness.differences)
    few = len(fairness.recipes) <= NAMED
    recipes = listing(fairness.recipes) if few else f"the {len(fairness.recipes)} recipes"
    if len(fairness.recipes) < 2:
        return "One recipe alone is not compared with anything."
    if not count:
        return f"Nothing but the method differs between {recipes}."
    settings = "1 setting differs" if count == 1 else f"{count} settings differ"
    return f"Beyond the method itself {settings} between {recipes}: what follows is not the method's doing."


def shared_rate_in_words(fairness: Fairness) -> str:
    """Says that one learning rate does not give all methods the same chance; empty if they have several rates."""
    if fairness.shared_rate is None:
        return ""
    return (
        f"All methods train with the same learning rate ({fairness.shared_rate:g}), which is not the same chance:"
        " methods with few parameters need far higher rates than full fine-tuning."
    )


def _rows(configs: Mapping[str, Mapping[str, Any]], left_out: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Returns each setting with its value in each configuration."""
    flat = {label: dict(_flatten(config, left_out)) for label, config in configs.items()}
    # dict.fromkeys, unlike a set, keeps the order of the settings, which the user knows.
    names = dict.fromkeys(name for settings in flat.values() for name in settings)
    # A run that is older than a setting had the value that the setting first had.
    return {
        name: {label: written_out(name, settings.get(name, first_value(name))) for label, settings in flat.items()}
        for name in names
    }


def _weight(name: str, tried: Mapping[str, int | None]) -> Weight:
    weight = WEIGHTS.get(name, UNKNOWN)
    if name != RATE:
        return weight
    if None in tried.values():
        budget = "whether the same number of rates was tried for each is not recorded"
    elif _differ(tried):
        budget = "but not the same number of rates was tried for each"
    else:
        budget = f"the same number of rates was tried for each ({next(iter(tried.values()))})"
    return Weight(weight.touches, f"{weight.words}; {budget}")


def _flatten(node: Mapping[str, Any], left_out: Sequence[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        name = f"{prefix}{key}"
        if name in left_out:
            continue
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, left_out, f"{name}.")
        else:
            yield name, value


def _differ(values: Mapping[str, Any]) -> bool:
    # Compared one by one, because values may be lists, which cannot be hashed.
    first, *others = values.values()
    return any(value != first for value in others)


def listing(words: Sequence[str]) -> str:
    """Joins one or more words: "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def short_listing(words: Sequence[str]) -> str:
    """Joins one or more words, of more than eight only the first: "a, b, c, d, e, f, g and 12 others"."""
    shown = NAMED - 1
    return listing(words) if len(words) <= NAMED else listing([*words[:shown], f"{len(words) - shown} others"])
