import re

from peft_lightning.task import Task


def test_the_base_class_names_in_its_docstring_what_a_task_has_to_provide() -> None:
    assert Task.__doc__ is not None
    provided = Task.__doc__.split("\n\n")[1]
    assert set(re.findall("``(\\w+)``", provided)) == Task.__abstractmethods__ | {"problem_type", "headline"}
