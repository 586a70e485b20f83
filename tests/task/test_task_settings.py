"""The model's settings that a task may have: each is taken, or refused by its name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from peft_lightning.errors import UserError
from peft_lightning.task import TASKS
from peft_lightning.task.base import TaskSettings

GIVEN: dict[str, Any] = {
    "class_names": ["a", "b"],
    "label_smoothing": 0.1,
    "class_weights": "balanced",
    "focal_gamma": 2.0,
    "huber_delta": 1.0,
}


@pytest.mark.parametrize("name", [field.name for field in fields(TaskSettings)])
def test_a_setting_is_refused_by_its_name_unless_a_task_has_it(name: str) -> None:
    settings = TaskSettings(**{name: GIVEN[name]})
    settings.refuse_all_but({name}, "mind_reading")
    with pytest.raises(UserError, match=rf"model\.{name} .*, which mind_reading has none of: leave it "):
        settings.refuse_all_but(GIVEN.keys() - {name}, "mind_reading")
    TaskSettings().refuse_all_but((), "mind_reading")


def test_tasks_take_settings_that_there_are_and_each_is_taken_by_one() -> None:
    assert set().union(*(kind.takes for kind in TASKS.values())) == {field.name for field in fields(TaskSettings)}
