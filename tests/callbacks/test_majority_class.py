import warnings
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.callbacks.majority_class import MajorityClassWarning
from peft_lightning.task import Baseline, Regression
from tests.callbacks.scripted import ScriptedData, ScriptedModule, trainer


def fit(
    tmp_path: Path, scores: list[float], share: float = 0.5, asked: tuple[str, ...] = ("ia3",), **settings: Any
) -> None:
    """Trains as many epochs as there are scores, on 100 validation examples."""
    watched = trainer(tmp_path, MajorityClassWarning(*asked), max_epochs=len(scores), **settings)
    watched.fit(ScriptedModule(scores=scores), datamodule=ScriptedData(majority_share=share))


# Two standard errors of 100 answers are 0.1 at one half, and 0.06 at nine tenths.
@pytest.mark.parametrize(("scores", "share"), [([0.5], 0.5), ([0.2, 0.58, 0.4], 0.5), ([0.95], 0.9), ([0.91], 0.9)])
def test_warns_of_a_method_that_learned_nothing(scores: list[float], share: float, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"hardly learned; try configs/ia3\.yaml") as caught:
        fit(tmp_path, scores, share)
    (warning,) = [str(one.message) for one in caught if "hardly learned" in str(one.message)]
    assert f"{max(scores):.3f}" in warning
    assert f"{share:.3f}" in warning


@pytest.mark.parametrize(
    ("asked", "mend"),
    [
        (("ia3", "study/ia3", "roberta-base"), "try configs/ia3.yaml, whose learning rate was chosen"),
        (("ia3", "ia3", "roberta-base"), "raise model.learning_rate, or train on more"),
        (("ia3", "ia3", "embedded"), "try configs/tuned_on_embedded/ia3.yaml, whose learning rate was chosen"),
        (("ia3", "tuned_on_embedded/ia3", "embedded"), "raise model.learning_rate, or train on more"),
        (("of_my_own", "mine", "roberta-base"), "raise model.learning_rate, or train on more"),
        (("vera", "mine", "roberta-base"), "try configs/peft/vera.yaml, whose learning rate was chosen"),
        (("vera", "peft/vera", "roberta-base"), "raise model.learning_rate, or train on more"),
        (("lora", "peft/dora", "roberta-base"), "raise model.learning_rate, or train on more"),
        (("lora", "decoder/lora", "Qwen/Qwen2.5-0.5B"), "raise model.learning_rate, or train on more"),
        (("vera", "peft/vera", "embedded"), "raise model.learning_rate, or train on more"),
    ],
)
def test_the_mend_is_a_recipe_for_this_backbone_other_than_the_run_s(
    asked: tuple[str, ...], mend: str, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match=f"hardly learned; {mend}"):
        fit(tmp_path, [0.5], asked=asked)


@pytest.mark.parametrize(("scores", "share"), [([0.65], 0.5), ([0.5, 0.7, 0.5], 0.5), ([0.97], 0.9)])
def test_says_nothing_of_one_that_did(scores: list[float], share: float, tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(tmp_path, scores, share)
    assert not [one for one in caught if "hardly learned" in str(one.message)]


# Two standard errors of 100 answers are 0.028 at 0.98, so that not even 1 is beyond them.
@pytest.mark.parametrize("score", [1.0, 0.98, 0.3])
def test_texts_that_tell_nothing_are_said_to_be_too_few(score: float, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"does not say whether .* validate on more, with data\.n_val") as caught:
        fit(tmp_path, [score], share=0.98)
    assert not [one for one in caught if "hardly learned" in str(one.message)]


def test_an_error_in_a_small_unit_is_no_zero(tmp_path: Path) -> None:
    watcher, data = MajorityClassWarning("lora"), ScriptedData()
    watcher.load_state_dict({"best": 0.00051})
    data.baseline = Baseline(0.0005, 0.0001, "that of answering the median")
    with pytest.warns(UserWarning, match=r"error, 0\.00051, is no more than chance from .* median, 0\.0005: "):
        trainer(tmp_path, watcher).fit(ScriptedModule(task=Regression()), datamodule=data)


def test_a_sanity_check_of_a_few_batches_is_no_validation(tmp_path: Path) -> None:
    # The scripted module scores 1.0 there.
    with pytest.warns(UserWarning, match="hardly learned"):
        fit(tmp_path, [0.5], num_sanity_val_steps=1)


def test_what_was_learned_before_a_resume_counts(tmp_path: Path) -> None:
    resumed = MajorityClassWarning("lora")
    resumed.load_state_dict({"best": 0.9})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(tmp_path, resumed).fit(ScriptedModule(scores=[0.5]), datamodule=ScriptedData())
    assert not [one for one in caught if "hardly learned" in str(one.message)]
    assert resumed.state_dict() == {"best": 0.9}
