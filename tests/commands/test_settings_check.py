from typing import Any

import pytest

from peft_lightning.commands.settings_check import check_settings, devices_here, first_refusal
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.errors import UserError
from tests.compare.plan.test_plan import OFFLINE, STUDY


def settings(*overrides: str) -> list[dict[str, Any]]:
    plan = build_plan(STUDY[1:], [1], [OFFLINE], overrides)
    return [plan.settings_of(recipe) for recipe in plan.recipes]


def test_what_fit_takes_is_not_refused_and_what_it_refuses_is_in_its_words() -> None:
    assert first_refusal(settings("--data.n_train", "100")) is None
    unknown = first_refusal(settings("--data.n_trian", "1"))
    no_number = first_refusal(settings("--data.n_train", "x"))
    assert unknown == (0, "there is no --data.n_trian: did you mean --data.n_train?")
    assert no_number == (0, "--data.n_train x: it takes a whole number or null")
    refused = first_refusal(settings("--model.method.r", "4"))
    assert refused is not None
    assert refused[0] == 2  # LoRA and QLoRA have an r, IA3 has none
    assert "IA3 has no r" in refused[1]


def test_this_machine_has_a_processor_at_least() -> None:
    found = devices_here()
    assert found["cpu"] is not None
    assert found["cpu"].endswith("threads")


@pytest.mark.slow
def test_a_process_of_its_own_checks_them() -> None:
    assert check_settings([build_plan(STUDY[:2], [1], [OFFLINE])]) == devices_here()
    with pytest.raises(UserError, match=r"^full: there is no --data\.n_trian: did you mean"):
        check_settings([build_plan(STUDY[:2], [1], [OFFLINE], ["--data.n_trian", "3"])])
