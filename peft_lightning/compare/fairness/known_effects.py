"""The known effects of settings on memory, time and the quality of answers, whatever the method."""

from dataclasses import dataclass
from typing import Literal

Touched = Literal["memory", "time", "quality"]
RATE = "model.learning_rate"
TRIED = "number of learning rates tried"


@dataclass(frozen=True)
class Weight:
    """The known effect of a setting on a comparison.

    Args:
        touches: The results that it changes by itself, whatever the method.
        words: How it changes them, in plain English.
    """

    touches: tuple[Touched, ...]
    words: str


MEMORY: tuple[Touched, ...] = ("memory",)
TIME: tuple[Touched, ...] = ("time",)
QUALITY: tuple[Touched, ...] = ("quality",)
ALL = (*MEMORY, *TIME, *QUALITY)
OTHER_REVIEWS = Weight(QUALITY, "other reviews are drawn, so results are not paired")
OTHER_BACKBONE = Weight(ALL, "another pretrained model: this compares models as much as methods")
LONGER = Weight((*TIME, *QUALITY), "more training takes longer, and may be more accurate")
LESS_DATA = Weight((*TIME, *QUALITY), "parts of the data are left out")
ADAM = Weight(QUALITY, "the optimiser takes other steps")
HARDWARE = Weight((*MEMORY, *TIME), "other hardware, or shared otherwise: memory and time are not comparable")

# A setting that is not named here is reported too, as of unknown effect.
WEIGHTS = {
    RATE: Weight(QUALITY, "expected to differ when it was tuned for each"),
    TRIED: Weight(QUALITY, "the best of more tries looks better by luck alone"),
    "model.model_name_or_path": OTHER_BACKBONE,
    "model.revision": OTHER_BACKBONE,
    "model.attn_implementation": Weight((*MEMORY, *TIME), "attention takes another amount of memory and time"),
    "model.quantization": Weight(ALL, "a backbone in four or eight bits takes less memory, unpacks, and rounds"),
    "model.quantize_on": Weight(QUALITY, "a GPU may pack single weights otherwise than a CPU"),
    "model.backbone_dtype": Weight(ALL, "a backbone in half the width takes less memory, and rounds"),
    "model.gradient_checkpointing": Weight((*MEMORY, *TIME), "less memory and slower steps where it is on"),
    "model.optimizer": Weight(ALL, "8-bit state takes a quarter of the memory, and its steps are rounded"),
    "model.weight_decay": ADAM,
    "model.adam_beta1": ADAM,
    "model.adam_beta2": ADAM,
    "model.adam_epsilon": ADAM,
    "model.schedule": Weight(QUALITY, "the learning rate falls otherwise"),
    "model.warmup_ratio": Weight(QUALITY, "the learning rate rises otherwise"),
    "model.label_smoothing": Weight(QUALITY, "another loss is trained, so losses are not comparable either"),
    "model.problem_type": Weight(QUALITY, "the labels are taken for something else, so results are not comparable"),
    **{
        f"model.{key}": Weight(QUALITY, "another loss is trained; the losses that are measured are the same")
        for key in ("class_weights", "focal_gamma", "huber_delta")
    },
    "data.text_pair_column": OTHER_REVIEWS,
    **{f"data.{key}": OTHER_REVIEWS for key in ("source", "text_column", "label_column", "n_test", "n_val", "seed")},
    **{f"data.{key}": OTHER_REVIEWS for key in ("configuration", "train_split", "val_split", "test_split", "quoting")},
    "data.deduplicate": OTHER_REVIEWS,
    "data.n_train": Weight((*TIME, *QUALITY), "more reviews take longer and teach more, and results are not paired"),
    "data.max_length": Weight(ALL, "longer texts take more memory and time, and say more"),
    "data.truncation": Weight(QUALITY, "another part of the long reviews is read"),
    "data.window_stride": Weight((*TIME, *QUALITY), "long reviews are tested in more or fewer windows"),
    "data.add_eos_token": Weight(QUALITY, "another token is the last, which a decoder's head reads"),
    "data.batch_size": Weight(ALL, "larger batches take more memory, run faster, and take fewer steps"),
    "data.eval_batch_size": Weight((*MEMORY, *TIME), "memory and speed of evaluation, not of training"),
    "data.num_workers": Weight(TIME, "batches are prepared beside the training or within it"),
    "data.pad_to_multiple_of": Weight((*MEMORY, *TIME), "more padding takes memory, and even widths may run faster"),
    "trainer.precision": Weight(ALL, "half precision takes less memory and time, and rounds"),
    "trainer.accumulate_grad_batches": Weight((*TIME, *QUALITY), "fewer and larger optimiser steps"),
    "trainer.gradient_clip_val": Weight(QUALITY, "large steps are shortened otherwise"),
    "trainer.gradient_clip_algorithm": Weight(QUALITY, "large steps are shortened otherwise"),
    **{f"trainer.{key}": LONGER for key in ("max_epochs", "max_steps", "max_time", "min_epochs", "min_steps")},
    **{f"trainer.{key}": LESS_DATA for key in ("limit_train_batches", "limit_val_batches", "limit_test_batches")},
    "trainer.overfit_batches": LESS_DATA,
    "trainer.fast_dev_run": LESS_DATA,
    **{f"trainer.{key}": HARDWARE for key in ("accelerator", "devices", "num_nodes", "strategy")},
    "trainer.deterministic": Weight(TIME, "repeatable kernels are slower where it is on"),
    "trainer.benchmark": Weight((*MEMORY, *TIME), "kernels are chosen by trial"),
    "trainer.profiler": Weight(TIME, "measuring every call slows the run"),
    "trainer.detect_anomaly": Weight(TIME, "every step is checked, which slows the run"),
    "trainer.log_every_n_steps": Weight(TIME, "each logging waits for the device, which costs a little"),
    "trainer.val_check_interval": Weight(QUALITY, "the best checkpoint is chosen among more or fewer"),
    "trainer.check_val_every_n_epoch": Weight(QUALITY, "the best checkpoint is chosen among more or fewer"),
    "engine": Weight((*MEMORY, *TIME), "the same steps, launched otherwise"),
    "memory_limit_gib": Weight(
        (*MEMORY, *TIME), "batches that do not fit go through in micro-batches, which takes longer"
    ),
    "checkpoint.every_n_steps": Weight(TIME, "each checkpoint takes a moment to write"),
    "checkpoint.max_time_share": Weight(TIME, "each checkpoint takes a moment to write"),
    **{f"early_stopping.{key}": LONGER for key in ("patience", "monitor", "min_delta")},
    "checkpoint.monitor": Weight(QUALITY, "the best checkpoint is chosen by another metric"),
}
UNKNOWN = Weight((), "what this does to the comparison is not known to this program: judge for yourself")
