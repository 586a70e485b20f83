"""The LightningModule of all methods: steps, metrics, optimiser. It never asks which method it holds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from lightning.fabric.utilities.apply_func import move_data_to_device
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from peft_lightning.backbone.architectures import longest_input
from peft_lightning.backbone.loading import Backbone
from peft_lightning.backbone.precision import compute_dtype, require_autocast
from peft_lightning.backbone.quantised import Quantisation, QuantiseOn
from peft_lightning.engine.sharding import building_device, shard
from peft_lightning.engine.strategies import engine_of
from peft_lightning.methods import IA3 as IA3
from peft_lightning.methods import PEFT as PEFT
from peft_lightning.methods import FullFineTuning as FullFineTuning
from peft_lightning.methods import IA3LoRA as IA3LoRA
from peft_lightning.methods import LoRA as LoRA
from peft_lightning.methods import Method
from peft_lightning.methods import QLoRA as QLoRA
from peft_lightning.methods.adaptation import refuse_training
from peft_lightning.methods.parameters import trainable_names
from peft_lightning.module.checkpoint_keys import identity_of, identity_refusal, in_present_words, weights_refusal
from peft_lightning.module.head_rate import rate_in_unit
from peft_lightning.module.mean_logits import logits_of
from peft_lightning.module.metric_logging import log_metrics
from peft_lightning.module.model_source import ModelSource
from peft_lightning.module.setting_ranges import require_names_apart, require_ranges
from peft_lightning.module.text_settings import TextSettings
from peft_lightning.module.trained import read_trained
from peft_lightning.module.training_plan import TrainingPlan
from peft_lightning.module.training_start import start_from_batches
from peft_lightning.optim.optimizers import build_optimizer, build_schedule
from peft_lightning.optim.steps import planned_steps
from peft_lightning.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from lightning.pytorch.core.optimizer import LightningOptimizer
    from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
    from torch.optim import Optimizer
    from transformers import PreTrainedModel

    from peft_lightning.task.evaluation_metrics import EvaluationMetrics

Batch = dict[str, Tensor]
_CPU = torch.device("cpu")


class TextClassifier(LightningModule):
    """A pretrained encoder or decoder with a classification head, fine-tuned by one method.

    Args:
        method: How the backbone is adapted: FullFineTuning, LoRA, QLoRA, IA3, IA3LoRA, HeadOnly, or PEFT for any other.
        model_name_or_path: A hub id, a local folder, or `embedded` for the small backbone in the package.
        revision: Branch, tag or commit of a hub model.
        attn_implementation: How attention is computed; flash_attention_2 needs a GPU and the flash-attn package.
        backbone_dtype: How the weights below the head are held: in 32-bit floats; in bf16, half the memory; or in the
            smallest form that the method trains with: for QLoRA the word embeddings in four bits too, else bf16. Head
            and adapters stay in 32 bits. With bf16 and the smallest form, trainer.precision must be bf16-mixed. Full
            fine-tuning then trains the bf16 weights themselves and needs an 8-bit optimizer, which rounds them
            stochastically: rounded to the nearest, steps of small learning rates would be lost.
        quantization: Hold the encoder's linear layers in four bits (`nf4`, or `fp4`) or eight (`int8`), with any method
            that freezes them; QLoRA does so by itself.
        quantize_on: Where weights are quantised: on the `cpu`, which gives every machine the same bits and takes some
            seven seconds for a billion weights; on the `gpu`, which takes less than one and may round single weights
            otherwise; `auto` takes the GPU, if there is one, for a billion weights or more.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, slower steps.
        optimizer: AdamW in 32 bits, with 8-bit state, or with 8-bit state in memory that is paged to the host.
        learning_rate: Peak learning rate.
        weight_decay: AdamW's decoupled weight decay; biases and norms are left out.
        adam_beta1: Decay of AdamW's first moment.
        adam_beta2: Decay of AdamW's second moment.
        adam_epsilon: AdamW's term against division by zero.
        schedule: How the learning rate falls after the warm-up.
        warmup_ratio: Share of all optimiser steps in which the learning rate rises from 0 to its peak.
        label_smoothing: Share of the target's probability that is spread over all classes, in [0, 1).
        class_names: Names for the classes, in the order of their numbers; the data's own if not given.
        problem_type: What labels are: `single_label_classification`, `multi_label_classification` or `regression`, in
            transformers' words; found from the labels if not given.
        class_weights: What classes count in the training loss: `balanced` weighs them against how often they occur, a
            list has a weight for each class, a mapping has weights by name. They are scaled to a mean of 1 over the
            training rows. The losses that are measured are not weighted.
        focal_gamma: Exponent of the focal loss (Lin et al. 2017): examples that are answered well count less, the less
            the higher it is; 2 is usual, 0 is the cross entropy.
        huber_delta: For numbers: the error, in the unit of the labels, from which the training loss grows linearly
            instead of with the square (Huber 1964); not given, it always grows with the square.
    """

    def __init__(
        self,
        method: Method,
        model_name_or_path: str = "roberta-base",
        revision: str | None = None,
        attn_implementation: Literal["eager", "sdpa", "flash_attention_2"] = "sdpa",
        backbone_dtype: Literal["float32", "bfloat16", "smallest"] = "float32",
        quantization: Literal["nf4", "fp4", "int8"] | None = None,
        quantize_on: Literal["auto", "cpu", "gpu"] = "auto",
        gradient_checkpointing: bool = False,
        optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit"] = "adamw",
        learning_rate: float = 2e-5,
        weight_decay: float = 0.0,
        adam_beta1: float = 0.9,
        adam_beta2: float = 0.999,
        adam_epsilon: float = 1e-8,
        schedule: Literal["linear", "cosine", "constant"] = "linear",
        warmup_ratio: float = 0.0,
        label_smoothing: float = 0.0,
        class_names: list[str] | None = None,
        problem_type: Literal["single_label_classification", "multi_label_classification", "regression"] | None = None,
        class_weights: Literal["balanced"] | list[float] | dict[str, float] | None = None,
        focal_gamma: float = 0.0,
        huber_delta: float | None = None,
    ) -> None:
        super().__init__()
        require_ranges(
            {
                "learning_rate": learning_rate,
                "adam_beta1": adam_beta1,
                "adam_beta2": adam_beta2,
                "adam_epsilon": adam_epsilon,
                "weight_decay": weight_decay,
                "warmup_ratio": warmup_ratio,
                "label_smoothing": label_smoothing,
                "focal_gamma": focal_gamma,
                "huber_delta": huber_delta,
            }
        )
        require_names_apart(class_names)
        self.method = method
        self.model_name_or_path = model_name_or_path
        self.revision = revision
        self.attn_implementation = attn_implementation
        self.backbone_dtype = backbone_dtype
        self.quantization = quantization
        self.quantize_on: QuantiseOn = quantize_on
        self.gradient_checkpointing = gradient_checkpointing
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.betas = (adam_beta1, adam_beta2)
        self.adam_epsilon = adam_epsilon
        self.schedule = schedule
        self.warmup_ratio = warmup_ratio
        self.label_smoothing = label_smoothing
        self.class_names = class_names
        self.problem_type = problem_type
        self.class_weights = class_weights
        self.focal_gamma = focal_gamma
        self.huber_delta = huber_delta
        self.task: Task | None = None
        # Checkpoints hold only the trained weights; `on_load_checkpoint` compares the keys instead.
        self.strict_loading = False
        self.model: nn.Module | None = None
        self._source: ModelSource
        self.backbone_identity: dict[str, str | None] = {}
        self.text_settings: TextSettings | None = None
        self.rehearses = False
        """Whether these are the first steps of a longer run, whose schedule the method's own is taken from."""
        self._precision: str | None = None
        self._optimizer_notes: list[str] = []
        self._plan = TrainingPlan()

    @classmethod
    def load_trained(cls, run: str | Path, checkpoint: str = "best", plain: bool = False) -> TextClassifier:
        """Loads the model that a run has trained, for answers without a Trainer.

        Args:
            run: The run's directory, such as ``lightning_logs/lora/version_0``.
            checkpoint: ``best``, ``last``, or a checkpoint file.
            plain: Whether packed and narrow weights become 32-bit floats of the same values, for a merge.

        Returns:
            The module on the CPU, in evaluation mode; its backbone is loaded from where the run loaded it.

        Raises:
            UserError: There is no such run or checkpoint, or the backbone is not the run's.
        """
        from jsonargparse import ArgumentParser

        trained = read_trained(Path(run), checkpoint)
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(cls, "model")
        module: TextClassifier = parser.instantiate(parser.parse_object({"model": trained.model})).model
        precision = trained.texts.precision
        module.quantize_on = "cpu"  # where it is built
        module.build(trained.task, precision, plain=plain)
        module.on_load_checkpoint(trained.checkpoint)
        module.load_state_dict(trained.checkpoint["state_dict"], strict=False)
        if precision.endswith("-true") and not plain:
            module.to(compute_dtype(precision))
        module.text_settings = trained.texts
        return module.eval()

    def answer(self, texts: Sequence[str | tuple[str, str]], batch_size: int = 32) -> list[dict[str, Any]]:
        """Answers texts as ``predict`` does, with the text settings and the precision of the module's run.

        Args:
            texts: The texts, none of them blank; pairs of texts for a run of pairs.
            batch_size: The number of texts in a batch.

        Returns:
            An answer for each text, in their order, such as ``{"label": ..., "probabilities": {...}}``.
        """
        if self.text_settings is None:
            raise RuntimeError("only a module of load_trained() knows how its texts are read")
        task = self._its_task()
        lines: list[dict[str, Any]] = []
        with torch.inference_mode(), self.text_settings.autocast(self.device):
            for batch in self.text_settings.batches(texts, batch_size):
                on_device = move_data_to_device(batch, self.device)
                lines += [task.line(answer) for answer in self.predict_step(on_device, 0).tolist()]
        return lines

    def save_adapter(self, folder: Path) -> None:
        """Saves the adapter, with the head in it, as plain PEFT loads it beside the original backbone.

        Args:
            folder: A folder that exists.

        Raises:
            UserError: The method has no adapter, or PEFT has no form for it.
        """
        self.method.save_adapter(self._built(), folder, self._source.untrained)

    def merged(self) -> PreTrainedModel:
        """Returns the model as plain transformers loads it; the module is of no use afterwards.

        Raises:
            UserError: The method's adapters cannot be merged.
        """
        model = self.method.merged(self._built())
        # Training leaves it in training mode, and a transformers pipeline would keep dropout on.
        model.eval()
        return model

    @property
    def notes(self) -> list[str]:
        """What was chosen differently from what was asked, a sentence each."""
        findings = [] if self.model is None else self.method.findings(self.model)
        return [*self.method.notes, *self._optimizer_notes, *findings]

    @property
    def reads_gradients(self) -> bool:
        """Whether the method reads the gradients of a step after its update."""
        return self.method.reads_gradients

    @property
    def max_tokens(self) -> int | None:
        """The longest text that the backbone takes, in tokens; None where it has no table of positions."""
        return longest_input(self._built())

    def build(self, task: Task, precision: str | None = None, device: torch.device = _CPU, plain: bool = False) -> None:
        """Loads the backbone and adapts it; a second call does nothing.

        Args:
            task: The task that the data's labels belong to.
            precision: The Trainer's precision; None for the one that ``backbone_dtype`` needs.
            device: The device that the model will run on; the meta device where the weights are another process's.
            plain: Whether packed and narrow weights become 32-bit floats of the same values, for a merge.

        Raises:
            UserError: The backbone, the method, the task and the precision do not go together.
        """
        if self.model is not None:
            return
        precision = precision or ("32-true" if self.backbone_dtype == "float32" else "bf16-mixed")
        backbone = self._backbone(precision, device)
        task = task.configured(
            self.class_names, self.label_smoothing, self.class_weights, self.focal_gamma, self.huber_delta
        )
        self._source = ModelSource(backbone, self.method, task, self.gradient_checkpointing, self.optimizer, plain)
        self.model = self._source.to_train()
        self.backbone_identity = backbone.identity()
        self._precision = precision
        self.task = task
        self.val_metrics = task.metrics()
        self.test_metrics = task.metrics()

    def check(self, precision: str, device: torch.device | None = _CPU, trains: bool = True) -> None:
        """Refuses settings of the backbone and the method that do not go together, before anything is read.

        Args:
            precision: The Trainer's precision.
            device: The device that the model will run on; None where another machine runs it, whose means are unknown.
            trains: Whether the model is to be trained, and not only to answer.

        Raises:
            UserError: The method cannot train beside weights of this form or as it is asked to, or they cannot be had
                here.
        """
        backbone = self.method.form_of(self._backbone(precision, device or _CPU))
        if trains:
            refuse_training(self.method, backbone, precision, self.gradient_checkpointing, self.optimizer)
        if device is not None:
            backbone.require_means()
            self.method.require_means()

    def _backbone(self, precision: str, device: torch.device) -> Backbone:
        require_autocast(self.backbone_dtype, precision)
        return Backbone(
            self.model_name_or_path,
            self.revision,
            self.attn_implementation,
            compute_dtype=compute_dtype(precision),
            dtype=self.backbone_dtype,
            quantisation=None if self.quantization is None else Quantisation(self.quantization),
            device=device,
            quantise_on=self.quantize_on,
        )

    def configure_model(self) -> None:
        """Builds the model for the Trainer's data, unless it is built already, gives it its start, and shards it."""
        trainer = self.trainer
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        if self.model is None:
            precision, device = str(trainer.precision), building_device(trainer.strategy)
            self.check(precision, device, trains=trainer.state.fn == TrainerFn.FITTING)
            self.build(datamodule.task, precision, device)
        # A run that goes on has its start from the checkpoint.
        if trainer.state.fn == TrainerFn.FITTING and not trainer.ckpt_path and self.method.batches_to_start_from:
            # Lightning makes the GPU the default device here, and a loader draws its order on the CPU.
            with torch.device("cpu"):
                # A data module of the user's own may know its process's batches alone.
                batches = getattr(datamodule, "undivided_batches", datamodule.train_dataloader)()
                self.start_from_data(batches, trainer.strategy.root_device)
        shard(trainer.strategy, self._built())

    def start_from_data(self, batches: Iterable[Batch], device: torch.device | str = "cpu") -> None:
        """Computes the start of a method that starts from training data, and applies it; of others nothing.

        ``fit`` does so by itself. Of several processes the first one computes.

        Args:
            batches: Training batches in a fixed order, undivided; the method takes the first ones.
            device: Where to compute.
        """
        precision = str(self._precision)
        start_from_batches(self.method, self._built(), batches, self._its_task(), torch.device(device), precision)

    def forward(self, batch: Batch) -> Tensor:
        """Runs the network.

        Args:
            batch: ``input_ids`` and ``attention_mask``, both (batch, length); without the mask no token is padding.
                ``token_type_ids`` like them tell the texts of pairs apart. Of a batch with ``windows``, the rows are
            windows of fewer texts.

        Returns:
            Logits, (batch, outputs); those of a text's windows are averaged.
        """
        if self.model is None:
            raise RuntimeError("the model is not built yet: call build() or run it in a Trainer")
        return logits_of(self.model, batch)

    def loss(self, batch: Batch) -> Tensor:
        """Computes the training loss without side effects, so that a step can be captured as a CUDA graph.

        Args:
            batch: ``input_ids``, ``attention_mask`` (batch, length) and ``labels`` (batch, …).

        Returns:
            The mean loss of the batch plus what the method adds to it, a scalar.
        """
        loss = self._its_task().loss(self(batch).float(), batch["labels"])
        extra = self.method.extra_loss(self._built())
        return loss if extra is None else loss + extra

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | dict[str, Any]:
        """Computes the loss of a training batch, or of this process's share of one."""
        loss, trainer = self.loss(batch), self._trainer
        return loss if trainer is None else engine_of(trainer).outputs(trainer, loss, batch, batch_idx)

    def validation_step(self, batch: Batch, batch_idx: int) -> Batch:
        """Scores a validation batch."""
        return self._evaluate(batch, self.val_metrics)

    def on_validation_epoch_end(self) -> None:
        """Logs the validation metrics."""
        log_metrics(self, self._its_task(), self.val_metrics.compute_and_reset("val"))

    def test_step(self, batch: Batch, batch_idx: int) -> Batch:
        """Scores a test batch."""
        return self._evaluate(batch, self.test_metrics)

    def on_test_epoch_end(self) -> None:
        """Logs the test metrics."""
        log_metrics(self, self._its_task(), self.test_metrics.compute_and_reset("test"))

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Computes the task's answers, (batch, …)."""
        return self._its_task().answer(self(batch).float())

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Builds the optimiser and its schedule over all steps of the run."""
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
        steps = planned_steps(self.trainer, len(datamodule.train_dataloader()))
        in_unit = rate_in_unit(self._built(), self._its_task())
        optimizer, note = build_optimizer(
            self.optimizer,
            [(name, parameter) for name, parameter in self.named_parameters() if parameter.requires_grad],
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            betas=self.betas,
            eps=self.adam_epsilon,
            device=self.device,
            rate_factor=lambda name, parameter: (
                self.method.rate_factor(name.removeprefix("model."), parameter) * in_unit(parameter)
            ),
        )
        self._plan.begin(steps, optimizer)
        self._optimizer_notes = [note] if note else []
        length = max(steps, self.method.least_steps) if self.rehearses else steps
        self.method.before_training(self._built(), length)
        scheduler = build_schedule(
            self.schedule, optimizer, warmup_steps=math.ceil(self.warmup_ratio * steps), total_steps=steps
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Computes the gradients of a batch with its share in the optimiser step, of which it may be a part."""
        super().backward(engine_of(self.trainer).weighed(self.trainer, loss), *args, **kwargs)

    def on_train_start(self) -> None:
        """Sets the learning rate of a schedule that is another than the checkpoint's, because the run is longer."""
        self._plan.follow(config.scheduler for config in self.trainer.lr_scheduler_configs)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Steps and drops the gradients at once: Lightning would keep them through the next forward pass."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        # The step under way counts only once this hook has returned.
        self.method.after_step(self._built(), self.trainer.global_step + 1)
        optimizer.zero_grad()

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Does nothing: the last step dropped its gradients, and this step may have computed its own by now."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Reduces a checkpoint to the trained weights, and adds the method, backbone and task that they belong to."""
        names = {f"model.{name}" for name in trainable_names(self._built())}
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: state[name] for name in state if name in names}
        checkpoint["peft_lightning"] = {**self._identity(), **self._plan.state()}
        if state := self.method.state(self._built()):
            checkpoint["peft_lightning"]["method_state"] = state

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint that does not fit this model.

        Raises:
            UserError: The checkpoint is of another backbone, method, task or set of weights.
        """
        checkpoint["peft_lightning"] = in_present_words(checkpoint.get("peft_lightning", {}), self.method)
        if refusal := identity_refusal(checkpoint, self._identity()):
            raise refusal
        state = checkpoint["peft_lightning"].get("method_state")
        # Before shapes are compared: EVA's ranks follow from the data, and only the checkpoint knows them.
        if state and self.method.rebuilds_for(state):
            self.model = None
            self.build(self._its_task(), self._precision, self._source.backbone.device, self._source.plain)
            if self._trainer is not None:
                shard(self._trainer.strategy, self._built())
        shapes = {name: tuple(parameter.shape) for name, parameter in self.named_parameters()}
        expected = {f"model.{name}": shapes[f"model.{name}"] for name in trainable_names(self._built())}
        if refusal := weights_refusal(checkpoint, expected):
            raise refusal
        if state:
            self.method.restore(self._built(), state)
        self._plan.restore(checkpoint)

    def _evaluate(self, batch: Batch, metrics: EvaluationMetrics) -> Batch:
        logits = self(batch).float()
        metrics.update(logits, batch["labels"])
        return {"logits": logits}

    def _built(self) -> nn.Module:
        if self.model is None:
            raise RuntimeError("the model is not built yet")
        return self.model

    def _its_task(self) -> Task:
        if self.task is None:
            raise RuntimeError("the model is not built yet: call build() or run it in a Trainer")
        return self.task

    def _identity(self) -> dict[str, Any]:
        return identity_of(
            self.method, self.backbone_identity, self.backbone_dtype, self.quantization, self._its_task()
        )
