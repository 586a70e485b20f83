"""How the steps of a run are computed: as they are or captured, in micro-batches where they do not fit the memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import Strategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.optim import Optimizer

from peft_lightning.engine.accumulation import Accumulation
from peft_lightning.engine.attention_kernels import AttentionKernels
from peft_lightning.engine.capturing import Capturing
from peft_lightning.engine.clipping import norm_of_gradients
from peft_lightning.engine.engine import EngineName
from peft_lightning.engine.evaluation_steps import EvaluationSteps
from peft_lightning.engine.job_size import job_size
from peft_lightning.engine.micro_batches import Batch
from peft_lightning.engine.micro_batching import MicroBatching
from peft_lightning.engine.notes import Notes
from peft_lightning.engine.strategy_view import StrategyView
from peft_lightning.engine.training_data import training_data
from peft_lightning.runs.record import EngineFigures


class StepEngine:
    """What a strategy of Lightning's hands its steps to, each with the strategy's own way to do it.

    Args:
        strategy: the strategy, which may be unfinished: what it has is looked up in a run.
        backward: its own backward pass.
        asked: `eager`, Lightning's own way; `graph`, which captures steps in CUDA graphs; `compiled`, which compiles
            the layers before; or `auto`, the fastest of them for the job.
    """

    def __init__(self, strategy: Strategy, backward: Callable[..., Tensor], asked: EngineName = "auto") -> None:
        self._strategy = StrategyView(strategy, backward)
        self._notes = Notes()
        self._test_follows = False
        self.accumulation = Accumulation(self._strategy)
        self.capturing = Capturing(self._strategy, self.accumulation, self._notes, asked)
        self.micro_batching = MicroBatching(self._strategy, self.accumulation, self.capturing, self._notes)
        self.evaluation = EvaluationSteps(self._strategy, self.capturing)
        self.kernels = AttentionKernels(self._strategy)

    @property
    def notes(self) -> list[str]:
        """What had to be done differently from what was asked."""
        return self._notes.sentences

    @property
    def micro_batch_size(self) -> int | None:
        """Most examples that go through together; None for the whole batch."""
        return self.accumulation.micro_batch_size

    @property
    def is_evaluating(self) -> bool:
        """Whether a validation's batch is being evaluated, or was when the run broke off."""
        return self.evaluation.under_way

    def figures(self, batch_size: int | None) -> EngineFigures:
        """Returns the record's `engine` section.

        Args:
            batch_size: examples in a batch; None where the data do not say.
        """
        name = self.capturing.name
        return EngineFigures(
            name=name if name != "auto" else None,
            micro_batch_size=self.micro_batch_size or batch_size,
            unpadded_attention=self.kernels.unpads,
            cudnn_attention=self.kernels.plans,
        )

    def gradient_norm(self, optimizer: Optimizer) -> Tensor:
        """Returns the norm of the gradients before the clipping, wherever they are.

        Args:
            optimizer: the optimiser, in `on_before_optimizer_step`.
        """
        captured = self.capturing.gradient_norm
        if captured is not None:
            return captured
        return norm_of_gradients([value for group in optimizer.param_groups for value in group["params"]])

    def expect_test(self, follows: bool) -> None:
        """Says whether training ends in this process's test: the weights stay, and checkpoints go on being written.

        Args:
            follows: whether it does.
        """
        self._test_follows = follows

    def try_out(self, trainer: Trainer) -> None:
        """Finds the micro-batches that fit the memory before the first step, so that none has to be done twice.

        Args:
            trainer: the Trainer, at the start of training.
        """
        data = training_data(trainer)
        if data is not None:
            self.micro_batching.try_out(self._strategy.to_device(data.widest_training_batch()))

    def state_dict(self) -> dict[str, Any]:
        """Returns what was found out about the memory and the steps, for checkpoints."""
        name = self.capturing.name if self.capturing.fallen_back else None
        return {"micro_batch_size": self.micro_batch_size, "notes": list(self.notes), "engine": name}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on with what a run had found out.

        Args:
            state: what `state_dict` returned, once the strategy is set up.
        """
        self.accumulation.micro_batch_size = state["micro_batch_size"]
        if state["engine"] is not None:
            self.capturing.name, self.capturing.fallen_back = state["engine"], True
        self._notes.resume(state["notes"])

    def setup(self, trainer: Trainer) -> None:
        """Decides how steps run, where that was left to it, once the strategy is set up.

        Args:
            trainer: the Trainer.
        """
        trains = trainer.state.fn == TrainerFn.FITTING
        on_gpu = self._strategy.on_gpu
        self.kernels.look()
        if trains and (on_gpu or self.capturing.name == "auto"):
            size = job_size(trainer)
            self.capturing.choose(size)
            if on_gpu:
                self.kernels.plan(size, compiles="compiled" in (self.capturing.name, self.capturing.asked))
        self.kernels.take(trains)

    def training_step(self, own: Callable[[], Any], batch: Batch) -> Tensor:
        """Computes the loss of a batch, or replays the whole step.

        Args:
            own: the strategy's own step, on this batch.
            batch: on the device.
        """
        loss = self.capturing.training_step(batch)
        return loss if loss is not None else self.micro_batching.training_step(own, batch)

    def backward(self, own: Callable[[], Tensor], closure_loss: Tensor) -> Tensor:
        """Computes the gradients, where the step has not.

        Args:
            own: the strategy's own backward pass, from this loss.
            closure_loss: the loss.
        """
        return self.micro_batching.backward(own, closure_loss)

    def optimizer_step(self, own: Callable[..., Any], optimizer: Optimizer, closure: Callable[[], Any]) -> Any:
        """Updates the weights, where the step has not.

        Args:
            own: the strategy's own way to do so, which takes a `closure`.
            optimizer: the optimiser.
            closure: computes the loss and its gradients.
        """
        loss = closure()
        self.accumulation.batches.clear()
        return self.capturing.update(own, optimizer, loss)

    def validation_step(self, own: Callable[[], Any]) -> Any:
        """Evaluates a batch, beside the graphs of training steps.

        Args:
            own: the strategy's own step, on this batch.
        """
        return self.evaluation.step(own)

    def teardown(self, own: Callable[[], None]) -> None:
        """Gives the graphs' memory back, and lets go of the batches of a step that broke off.

        Args:
            own: the strategy's own way to end; where a test follows, all that only training needs goes instead.
        """
        self.capturing.end()
        self.kernels.close()
        self.accumulation.batches.clear()
        if self._test_follows:
            self._strategy.end_training()
        else:
            own()
