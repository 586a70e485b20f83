"""What a module's model is made of: a backbone, a method that adapts it, and a task that its head is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from peft_lightning.backbone.heads import name_outputs
from peft_lightning.engine.spare_memory import spare_memory
from peft_lightning.methods.adaptation import load_adapted

if TYPE_CHECKING:
    from torch import nn

    from peft_lightning.backbone.loading import Backbone
    from peft_lightning.methods import Method
    from peft_lightning.optim.optimizers import OptimizerName
    from peft_lightning.task import Task


@dataclass(frozen=True)
class ModelSource:
    """What a model is made of before training.

    Args:
        backbone: The encoder or decoder, and the form of its weights.
        method: The method that adapts it.
        task: The task with the model's settings; its outputs are those of the head.
        gradient_checkpointing: Whether activations are computed again in the backward pass.
        optimizer: The optimiser that will train the model.
        plain: Whether packed and narrow weights become 32-bit floats of the same values, for a merge.
    """

    backbone: Backbone
    method: Method
    task: Task
    gradient_checkpointing: bool
    optimizer: OptimizerName
    plain: bool

    def untrained(self) -> nn.Module:
        """Returns a new model as it is before training.

        Raises:
            UserError: The backbone, the method and the optimiser do not go together.
        """
        return load_adapted(
            self.method,
            self.backbone,
            self.task.num_outputs,
            self.gradient_checkpointing,
            self.optimizer,
            head_start=self.task.head_start,
            plain=self.plain,
        )

    def to_train(self) -> nn.Module:
        """Returns a new model whose configuration names the task and its outputs; its weight files are hashed too.

        Raises:
            UserError: The backbone, the method and the optimiser do not go together.
        """
        if self.backbone.dtype == "smallest":
            spare_memory()
        with self.backbone.hashed_meanwhile():
            model = self.untrained()
        name_outputs(model, self.task.problem_type, self.task.output_names)
        return model
