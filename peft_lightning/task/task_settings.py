"""The model's settings that change a task: what its outputs are called, and what its loss is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields

from peft_lightning.errors import UserError
from peft_lightning.task.class_weights import ClassWeights

# What each setting is for, and what to do where a task has no use for it.
_REFUSALS = {
    "class_names": ("names classes", "leave it out"),
    "label_smoothing": ("smooths classes", "leave it 0"),
    "class_weights": ("weighs classes", "leave it out"),
    "focal_gamma": ("is for classes", "leave it 0"),
    "huber_delta": ("is for numbers", "leave it out"),
}


@dataclass(frozen=True)
class TaskSettings:
    """Settings of the model, of which a task has some.

    Args:
        class_names: Names for the classes; None for the data's own.
        label_smoothing: Share of the target's probability that is spread over all classes.
        class_weights: What the classes count in the training loss; None for the same.
        focal_gamma: Exponent of the focal loss; 0 for none.
        huber_delta: Error from which the training loss grows linearly; None for none.
    """

    class_names: Sequence[str] | None = None
    label_smoothing: float = 0.0
    class_weights: ClassWeights | None = None
    focal_gamma: float = 0.0
    huber_delta: float | None = None

    def refuse_all_but(self, taken: Collection[str], problem_type: str) -> None:
        """Refuses settings that a task does not have, where they are given.

        Args:
            taken: Names of those that it has.
            problem_type: The task's name.

        Raises:
            UserError: If another one is given.
        """
        for field in fields(self):
            if field.name not in taken and getattr(self, field.name) != field.default:
                does, mend = _REFUSALS[field.name]
                raise UserError(f"model.{field.name} {does}, which {problem_type} has none of: {mend}")

    def names_of(self, own: Sequence[str], what: str) -> tuple[str, ...]:
        """Returns the user's names for the outputs, or the data's own.

        Args:
            own: The data's names.
            what: What is named, such as ``classes``.

        Raises:
            UserError: There are not as many.
        """
        given = self.class_names
        if given is not None and len(given) != len(own):
            raise UserError(
                f"model.class_names names {len(given)} {what} and the data has {len(own)}: {', '.join(own)}"
            )
        return tuple(given or own)
