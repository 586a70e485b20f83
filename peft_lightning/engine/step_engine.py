"""The engine that computes a run's steps: eager or captured, in micro-batches where they do not fit the memory."""

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
from peft_lightning.engine.gradient_buckets import Ready
from peft_lightning.engine.job_size import job_size
from peft_lightning.engine.micro_batches import Batch
from peft_lightning.engine.micro_batching import MicroBatching
from peft_lightning.engine.notes import Notes
from peft_lightning.engine.strategy_view import StrategyView
from peft_lightning.engine.training_data import training_data
from peft_lightning.runs.record import StepFigures


class StepEngine:
    """Computes the steps that one of Lightning's strategies hands over, each with a call of the strategy's own method.

    Args:
        strategy: The strategy. It may be unfinished: its attributes are read during the run.
        backward: The strategy's own backward pass.
        asked: ``eager``, Lightning's own stepping; ``graph``, which captures steps in CUDA graphs; ``compiled``, which
            compiles the layers before the capture; or ``auto``, the fastest of them for the job.
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
        """What the engine did differently from what was asked, a sentence each."""
        return self._notes.sentences

    @property
    def micro_batch_size(self) -> int | None:
        """The most examples in a micro-batch; None for the whole batch."""
        return self.accumulation.micro_batch_size

    @property
    def ready(self) -> Ready:
        """What tells that the step under way has filled a bucket of gradients: see ``SharedGradients.average``."""
        return self.capturing.ready

    @property
    def is_evaluating(self) -> bool:
        """Whether a validation batch is being evaluated, or was being evaluated when the run broke off."""
        return self.evaluation.under_way

    def figures(self, batch_size: int | None) -> StepFigures:
        """Returns what the record's ``engine`` section says of this process's steps.

        Args:
            batch_size: Examples in a batch; None where the data module does not say.
        """
        name = self.capturing.name
        return StepFigures(
            name=name if name != "auto" else None,
            micro_batch_size=self.micro_batch_size or batch_size,
            unpadded_attention=self.kernels.unpads,
            cudnn_attention=self.kernels.plans,
        )

    def gradient_norm(self, optimizer: Optimizer) -> Tensor:
        """Returns the norm of the gradients before the clipping, a scalar; for ``on_before_optimizer_step``."""
        captured = self.capturing.gradient_norm
        if captured is not None:
            return captured
        return norm_of_gradients([value for group in optimizer.param_groups for value in group["params"]])

    def weighed(self, trainer: Trainer, loss: Tensor) -> Tensor:
        """Returns a loss as its gradients need it: with the share of its batch in the step.

        Args:
            trainer: The Trainer, within a training step.
            loss: The loss of a batch or a part of it, divided by the number of batches that a step should have.
        """
        share = self.accumulation.share
        return loss if share == 1 else loss * share

    def outputs(self, trainer: Trainer, loss: Tensor, batch: Batch, batch_idx: int) -> Tensor:
        """Returns the loss: the strategy adds that of other processes, once a step is through, replayed or not."""
        return loss

    def expect_test(self, follows: bool) -> None:
        """Tells the engine whether a test follows training in this process.

        Args:
            follows: Whether it does. If so, the weights stay on the device when training ends, and checkpoints are
                still written.
        """
        self._test_follows = follows

    def try_out(self, trainer: Trainer) -> None:
        """Finds the micro-batch size that fits the memory before the first step, so that no step is computed twice."""
        data = training_data(trainer)
        if data is not None:
            self.micro_batching.try_out(self._strategy.to_device(data.widest_training_batch()))

    def state_dict(self) -> dict[str, Any]:
        """Returns what the engine has learnt about the memory and the steps, for checkpoints."""
        name = self.capturing.name if self.capturing.fallen_back else None
        return {"micro_batch_size": self.micro_batch_size, "notes": list(self.notes), "engine": name}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores what the engine of an earlier run had learnt; called once the strategy is set up.

        Args:
            state: What ``state_dict`` returned.
        """
        self.accumulation.micro_batch_size = state["micro_batch_size"]
        if state["engine"] is not None:
            self.capturing.name, self.capturing.fallen_back = state["engine"], True
        self._notes.resume(state["notes"])

    def setup(self, trainer: Trainer) -> None:
        """Chooses how steps run and which attention kernels they use, once the strategy is set up."""
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
        """Computes the loss of a batch, or replays its captured step.

        Args:
            own: Runs the strategy's own training step on this batch.
            batch: A batch on the device.

        Returns:
            The mean loss, a scalar.
        """
        loss = self.capturing.training_step(batch)
        return loss if loss is not None else self.micro_batching.training_step(own, batch)

    def backward(self, own: Callable[[], Tensor], closure_loss: Tensor) -> Tensor:
        """Computes the gradients, unless the step has computed them.

        Args:
            own: Runs the strategy's own backward pass from this loss.
            closure_loss: The loss.

        Returns:
            The loss, detached.
        """
        return self.micro_batching.backward(own, closure_loss)

    def optimizer_step(self, own: Callable[..., Any], optimizer: Optimizer, closure: Callable[[], Any]) -> Any:
        """Updates the weights, unless the replayed step has updated them.

        Args:
            own: The strategy's own ``optimizer_step``, which takes a ``closure``.
            optimizer: The optimiser.
            closure: Computes the loss and its gradients.
        """
        loss = closure()
        self.accumulation.batches.clear()
        return self.capturing.update(own, optimizer, loss)

    def validation_step(self, own: Callable[[], Any]) -> Any:
        """Evaluates a batch, and drops the graphs of training steps where memory is short.

        Args:
            own: Runs the strategy's own validation step on this batch.
        """
        return self.evaluation.step(own)

    def teardown(self, own: Callable[[], None]) -> None:
        """Frees the graphs' memory and the batches of a step that broke off, then ends the strategy.

        Args:
            own: The strategy's own teardown. Where a test follows, only the training's state is freed instead.
        """
        self.capturing.end()
        self.kernels.close()
        self.accumulation.batches.clear()
        if self._test_follows:
            self._strategy.end_training()
        else:
            own()
