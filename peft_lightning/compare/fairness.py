"""What differs between recipes beyond the method itself, and what that does to a comparison of methods."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peft_lightning.compare.weights import RATE, TRIED, UNKNOWN, WEIGHTS, Weight

# Left out, whatever their value, because they are no choice between methods:
LEFT_OUT = (
    "model.method",  # the very thing that is compared
    "seed_everything",  # every recipe gets every seed
    # Where results go and what is shown. How often something is logged stays in: that makes the processor wait.
    "trainer.default_root_dir",
    "trainer.logger",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.enable_autolog_hparams",
    "trainer.model_registry",
    # Tokenised reviews are the same wherever they are kept, and `predict` is no part of a comparison.
    "data.cache_dir",
    "data.predict_file",
)


@dataclass(frozen=True)
class SettingDifference:
    """One setting that is not the same in all recipes.

    Args:
        setting: Its dotted name.
        values: Its value in each recipe, by label; None where it is not set.
        weight: What that does to the comparison.
    """

    setting: str
    values: dict[str, Any]
    weight: Weight


@dataclass(frozen=True)
class Fairness:
    """What the recipes of a comparison share and do not.

    Args:
        recipes: Their labels.
        differences: What differs beyond the method: known confounders first, in the order of the recipes' settings.
        shared_rate: The learning rate of different methods that all have the same one; else None.
    """

    recipes: tuple[str, ...]
    differences: tuple[SettingDifference, ...]
    shared_rate: float | None


def compare_settings(
    configs: Mapping[str, Mapping[str, Any]], rates_tried: Mapping[str, int] | None = None
) -> Fairness:
    """Finds everything that differs between recipes beyond the method itself.

    Args:
        configs: The resolved settings of each recipe, as a run's ``config.yaml`` holds them, by label.
        rates_tried: How many learning rates were tried for each recipe, by label, where that was recorded.
    """
    flat = {label: dict(_flatten(config)) for label, config in configs.items()}
    # dict.fromkeys rather than a set: the order of the settings is the order that their user knows.
    names = dict.fromkeys(name for settings in flat.values() for name in settings)
    tried = {label: (rates_tried or {}).get(label) for label in flat}
    rows = {name: {label: settings.get(name) for label, settings in flat.items()} for name in names}
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


def fairness_in_words(fairness: Fairness) -> tuple[str, ...]:
    """Says what differs between the recipes beyond the method, or that nothing does.

    Args:
        fairness: What was found.

    Returns:
        Sentences: how many settings differ, then each of them, then a learning rate that all methods share.
    """
    recipes, count = listing(fairness.recipes), len(fairness.differences)
    if len(fairness.recipes) < 2:
        return ("One recipe alone is not compared with anything.",)
    if not count:
        sentences = [f"Nothing but the method differs between {recipes}."]
    else:
        settings = "1 setting differs" if count == 1 else f"{count} settings differ"
        sentences = [f"Beyond the method itself {settings} between {recipes}: what follows is not the method's doing."]
    sentences.extend(_sentence(difference) for difference in fairness.differences)
    if fairness.shared_rate is not None:
        sentences.append(
            f"All methods train with the same learning rate ({fairness.shared_rate:g}), which is not the same chance:"
            " methods with few parameters need far higher rates than full fine-tuning."
        )
    return tuple(sentences)


def _sentence(difference: SettingDifference) -> str:
    by_value: dict[str, list[str]] = {}
    for label, value in difference.values.items():
        shown = "not set" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        by_value.setdefault(shown, []).append(label)
    values = "; ".join(f"{value} in {listing(labels)}" for value, labels in by_value.items())
    touched = f"Touches {listing(difference.weight.touches)}: " if difference.weight.touches else ""
    words = difference.weight.words
    return f"{difference.setting}: {values}. {touched}{words if touched else words[0].upper() + words[1:]}."


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


def _flatten(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        name = f"{prefix}{key}"
        if name in LEFT_OUT:
            continue
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{name}.")
        else:
            yield name, value


def _differ(values: Mapping[str, Any]) -> bool:
    # A list, which cannot be hashed, is a value like any other.
    first, *others = values.values()
    return any(value != first for value in others)


def listing(words: Sequence[str]) -> str:
    """Strings words together: "a, b and c".

    Args:
        words: One or more.
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
