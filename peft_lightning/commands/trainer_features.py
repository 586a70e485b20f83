"""Features of Lightning that a run refuses, because what it trains would not be what its record says.

Each entry names what the feature does behind ``config.yaml``, the record or the checkpoints, and what to do instead.
``docs/lightning.md`` lists all of Lightning's arguments and callbacks, those that are allowed too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import (
    BaseFinetuning,
    BatchSizeFinder,
    GradientAccumulationScheduler,
    LearningRateFinder,
    ModelPruning,
    OnExceptionCheckpoint,
    StochasticWeightAveraging,
    WeightAveraging,
)
from lightning.pytorch.plugins import DoublePrecision, HalfPrecision, MixedPrecision, Precision
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from peft_lightning.commands.launch_settings import launch_misfits
from peft_lightning.commands.sharded_settings import refuse_settings
from peft_lightning.engine.sharded_layers import FSDP2
from peft_lightning.engine.sharding import ShardedStrategy
from peft_lightning.errors import Part, Setting, UserError
from peft_lightning.module.classifier import TextClassifier

Refusal = tuple[Part, ...]

_AVERAGED: Refusal = (
    "measures other weights than checkpoints of the trained weights hold, and cannot be resumed from them: leave it"
    " out, or lower ",
    Setting("model.learning_rate"),
    " at the end with ",
    Setting("model.schedule", "cosine"),
)
CALLBACKS: dict[type[Callback], Refusal] = {
    WeightAveraging: _AVERAGED,  # and EMAWeightAveraging
    StochasticWeightAveraging: _AVERAGED,
    BatchSizeFinder: (
        "changes the batch size after config.yaml has been written: leave it out and set ",
        Setting("data.batch_size"),
        "; a GPU takes a batch that does not fit in micro-batches by itself",
    ),
    LearningRateFinder: (
        "changes the learning rate after config.yaml has been written: leave it out and set ",
        Setting("model.learning_rate"),
        ", or let compare --tune choose it on validation",
    ),
    GradientAccumulationScheduler: (
        "changes the examples of a step from epoch to epoch, and the schedule is planned for one number: leave it out"
        " and set ",
        Setting("trainer.accumulate_grad_batches"),
    ),
    BaseFinetuning: (  # and BackboneFinetuning
        "changes what is trained, which the method decides and the record counts before step 1: leave it out and"
        " choose another ",
        Setting("model.method"),
    ),
    OnExceptionCheckpoint: (
        "makes the next run start from its file, whatever that run's settings: leave it out, and go on with ",
        Setting("ckpt_path", "last"),
    ),
    ModelPruning: (
        "changes the weights between steps, and checkpoints hold them with masks that no other program reads: leave"
        " it out",
    ),
}
# Lightning's own for the precisions whose names it and the record share. Others replace layers by quantised ones.
PRECISIONS = (Precision, MixedPrecision, HalfPrecision, DoublePrecision)


def refuse_features(trainer: Trainer, settings: Mapping[str, Any], model: TextClassifier, word: str) -> None:
    """Refuses what would make a record untrue, before anything is read, trained or written.

    Args:
        trainer: The Trainer.
        settings: The ``trainer`` section of the configuration.
        model: The module, for its schedule.
        word: The command, such as ``fit``.

    Raises:
        UserError: A feature is refused; the line says why and what to do.
    """
    refusals = (_of_callbacks(trainer), _of_arguments(trainer, settings, model, word), _of_processes(trainer, settings))
    for found in refusals:
        for refusal in found:
            raise UserError(*refusal)
    refuse_settings(trainer, model, word)


def _of_callbacks(trainer: Trainer) -> Iterator[Refusal]:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        for kind, refusal in CALLBACKS.items():
            if isinstance(callback, kind):
                yield (f"{type(callback).__name__} ", *refusal)


def _of_arguments(trainer: Trainer, settings: Mapping[str, Any], model: TextClassifier, word: str) -> Iterator[Refusal]:
    if trainer.overfit_batches:  # type: ignore[attr-defined]
        yield (
            f"trainer.overfit_batches {trainer.overfit_batches:g} trains in the data's order and validates on what it"  # type: ignore[attr-defined]
            " trains on: leave it out and train on few rows with ",
            Setting("data.n_train"),
        )
    if trainer.reload_dataloaders_every_n_epochs:  # type: ignore[attr-defined]
        yield (
            "trainer.reload_dataloaders_every_n_epochs would read the same rows again and lose the place in the epoch"
            " that a resumed run goes on from: leave it out",
        )
    unlimited = trainer.max_epochs == -1 and trainer.max_steps == -1
    if word == "fit" and unlimited and (model.schedule != "constant" or model.warmup_ratio):
        yield (
            f"model.schedule {model.schedule} with warmup_ratio {model.warmup_ratio:g} needs to know how many steps"
            " there will be, and nothing limits them: say ",
            Setting("trainer.max_epochs"),
            " or ",
            Setting("trainer.max_steps"),
            " (a time limit may end it sooner), or ",
            Setting("model.schedule", "constant"),
            " with ",
            Setting("model.warmup_ratio", 0),
        )
    precision = trainer.precision_plugin
    if type(precision) not in PRECISIONS:
        yield (
            f"{type(precision).__name__} computes otherwise than the record's precision says: leave it out and use ",
            Setting("trainer.precision", "bf16-mixed"),
            ", or QLoRA for a backbone in four bits",
        )
    if word != "fit" and trainer.fast_dev_run:  # type: ignore[attr-defined]
        yield (f"trainer.fast_dev_run would {word} a part of the rows: it is for fit, leave it out",)
    limit = settings["limit_predict_batches"]
    if word == "predict" and limit is not None and (limit != 1 or isinstance(limit, int)):  # 1 is a batch, 1.0 all
        yield (f"trainer.limit_predict_batches {limit} would leave texts without an answer: leave it out",)


def _of_processes(trainer: Trainer, settings: Mapping[str, Any]) -> Iterator[Refusal]:
    strategy = trainer.strategy
    started_here = isinstance(strategy, DDPStrategy) and strategy._start_method == "popen"
    if not (started_here or isinstance(strategy, SingleDeviceStrategy | ShardedStrategy)):
        asked = settings["strategy"]
        name = f"trainer.strategy {asked}" if isinstance(asked, str) else type(strategy).__name__
        yield (
            f"{name} spreads a run in a way whose weights and answers are not gathered here: use ",
            Setting("trainer.strategy", "ddp"),
            ", ",
            Setting("trainer.strategy", FSDP2),
            " or ",
            Setting("trainer.devices", 1),
        )
    if isinstance(strategy, DDPStrategy) and strategy._model_averaging_period is not None:
        yield (
            "model_averaging_period lets each process train weights of its own, and checkpoints hold one process's:"
            " leave it out of ",
            Setting("trainer.strategy"),
        )
    yield from launch_misfits(trainer)
    if trainer.world_size > 1 and settings["use_distributed_sampler"]:
        yield (
            "trainer.use_distributed_sampler repeats rows until the shares are even, and they would count twice: leave"
            " it out, the batches are dealt out here",
        )
