import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from peft_lightning.__main__ import main
from peft_lightning.backbone.precision import compute_dtype
from peft_lightning.errors import UserError
from peft_lightning.methods import IA3, FullFineTuning, LoRA, Method, QLoRA
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.task import SingleLabel
from tests.commands.test_fit import history
from tests.integration.offline_run import checkpoint, only_run
from tests.methods.tiny_backbones import batch, save_backbone

METHODS: dict[str, Callable[[], Method]] = {
    "full": FullFineTuning,
    "lora": lambda: LoRA(lora_dropout=0.0),
    "qlora": lambda: QLoRA(lora_dropout=0.0),
    "ia3": IA3,
}


def built(backbone: str, method: str = "lora", classes: int = 2, **settings: Any) -> TextClassifier:
    """A module with its model, the same weights every time."""
    torch.manual_seed(3)
    module = TextClassifier(METHODS[method](), model_name_or_path=backbone, **settings)
    module.build(SingleLabel(tuple(f"class {number}" for number in range(classes))))
    return module


def labelled(classes: int = 2) -> dict[str, torch.Tensor]:
    """A batch with labels."""
    return batch() | {"labels": torch.arange(4) % classes}


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_the_loss_is_the_smoothed_cross_entropy(smoothing: float, still_backbone: str) -> None:
    classes = 3
    module = built(still_backbone, classes=classes, label_smoothing=smoothing)
    given = labelled(classes)
    with torch.no_grad():
        loss, logits = module.loss(given), module(given).double()
    target = torch.full((4, classes), smoothing / classes, dtype=torch.float64)
    target[torch.arange(4), given["labels"]] += 1 - smoothing
    log_probabilities = logits - logits.exp().sum(dim=1, keepdim=True).log()
    assert float(loss) == pytest.approx(float(-(target * log_probabilities).sum(dim=1).mean()), rel=1e-5)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_model_merged_right_after_training_is_free_of_dropout(method: str, tmp_path: Path) -> None:
    module = built(str(save_backbone("roberta", tmp_path)), method).train()
    merged = module.merged()
    with torch.no_grad():
        first, second = (merged(**batch()).logits for _ in range(2))
    assert torch.equal(first, second)


def test_padding_changes_nothing(still_backbone: str) -> None:
    module, given = built(still_backbone), labelled()
    padded = given | {
        "input_ids": torch.nn.functional.pad(given["input_ids"], (0, 5), value=1),
        "attention_mask": torch.nn.functional.pad(given["attention_mask"], (0, 5)),
    }
    with torch.no_grad():
        assert torch.allclose(module(given), module(padded), atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_checkpointing_recomputes_and_leaves_the_gradients_as_they_are(method: str, still_backbone: str) -> None:
    gradients, calls = [], []
    for recompute in (False, True):
        module = built(still_backbone, method, gradient_checkpointing=recompute)
        assert module.model is not None
        counted: list[str] = []
        for name, part in module.model.named_modules():
            place = re.search(r"encoder\.layer\.(\d)\.attention$", name)
            if place is not None:
                part.register_forward_hook(lambda *_, place=place[1], counted=counted: counted.append(place))
        module.loss(labelled()).backward()
        calls.append("".join(counted))
        gradients.append({name: p.grad for name, p in module.named_parameters() if p.grad is not None})
    # Of the backbone's two layers the last has its activations still when its backward pass begins.
    assert calls == ["01", "010"]
    assert gradients[0].keys() == gradients[1].keys() != set()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], atol=1e-6), name


def test_biases_of_a_bf16_backbone_are_trained_in_32_bits(still_backbone: str) -> None:
    torch.manual_seed(3)
    module = TextClassifier(LoRA(bias="all"), model_name_or_path=still_backbone, backbone_dtype="bfloat16")
    module.build(SingleLabel(("a", "b")))
    trained = {parameter.dtype for parameter in module.parameters() if parameter.requires_grad}
    assert trained == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16):
        module.loss(labelled()).backward()
    assert all(parameter.grad is not None for parameter in module.parameters() if parameter.requires_grad)


def test_attention_implementations_agree(still_backbone: str) -> None:
    given = labelled()
    with torch.no_grad():
        eager = built(still_backbone, attn_implementation="eager")
        sdpa = built(still_backbone, attn_implementation="sdpa")
        assert torch.allclose(eager(given), sdpa(given), atol=1e-5)
    models: list[Any] = [eager.model, sdpa.model]
    assert [model.config._attn_implementation for model in models] == ["eager", "sdpa"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is missing on a machine without a GPU")
def test_flash_attention_that_is_missing_is_one_line(still_backbone: str) -> None:
    with pytest.raises(UserError, match="flash_attention_2") as refused:
        built(still_backbone, attn_implementation="flash_attention_2")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("method", METHODS)
def test_a_step_moves_what_is_trained_and_nothing_else(method: str, still_backbone: str) -> None:
    module = built(still_backbone, method)
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1.0)
    for _ in range(2):  # LoRA's B starts at zero, so A moves in the second step only
        optimizer.zero_grad()
        module.loss(labelled()).backward()
        optimizer.step()
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            assert torch.equal(before[name], parameter), name
    assert any(not torch.equal(before[name], p) for name, p in module.named_parameters() if p.requires_grad)


def test_names_for_the_classes_must_be_as_many(still_backbone: str) -> None:
    module = TextClassifier(LoRA(), model_name_or_path=still_backbone, class_names=["bad", "good"])
    with pytest.raises(UserError, match="2 classes and the data has 3"):
        module.build(SingleLabel(("a", "b", "c")))
    module.build(SingleLabel(("0", "1")))
    assert module.task == SingleLabel(("bad", "good"))


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("32-true", torch.float32),
        ("bf16-mixed", torch.bfloat16),
        ("bf16-true", torch.bfloat16),
        ("16-mixed", torch.float16),
    ],
)
def test_quantised_weights_compute_in_the_precision_of_the_trainer(precision: str, dtype: torch.dtype) -> None:
    assert compute_dtype(precision) == dtype


# 32 reviews in batches of 8: 4 batches an epoch.
@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        pytest.param(["--trainer.max_epochs", "2"], 8, marks=pytest.mark.slow),
        (["--trainer.accumulate_grad_batches", "3", "--trainer.max_epochs", "2"], 4),
        pytest.param(["--trainer.limit_train_batches", "3"], 3, marks=pytest.mark.slow),
        pytest.param(["--trainer.limit_train_batches", "0.5", "--trainer.max_epochs", "2"], 4, marks=pytest.mark.slow),
        pytest.param(["--trainer.max_steps", "3", "--trainer.max_epochs", "2"], 3, marks=pytest.mark.slow),
        pytest.param(["--trainer.max_steps", "6", "--trainer.max_epochs", "-1"], 6, marks=pytest.mark.slow),
    ],
)
def test_the_schedule_ends_with_the_last_step(settings: list[str], steps: int, tiny_fit: list[str]) -> None:
    main([*tiny_fit, *settings, "--model.schedule", "linear", "--model.warmup_ratio", "0", "--test_after_fit", "false"])
    run = only_run(Path())
    last = checkpoint(run / "checkpoints/last.ckpt")
    assert last["global_step"] == steps
    (scheduler,) = last["lr_schedulers"]
    assert scheduler["last_epoch"] == steps
    assert scheduler["_last_lr"] == pytest.approx([0.0] * len(scheduler["_last_lr"]), abs=1e-12)
    # One step before the end the rate was not 0 yet.
    assert min(history(run, "train/learning_rate")[step] for step in range(1, steps)) > 0


class Seen:
    """What a module needs of its Trainer to build an optimiser."""

    accumulate_grad_batches, max_epochs, max_steps, limit_train_batches = 1, 2, -1, 1.0

    class datamodule:
        @staticmethod
        def train_dataloader() -> list[int]:
            return [0] * 10


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("linear", {0: 0, 1: 0.2, 5: 1.0, 10: 10 / 15, 19: 1 / 15}),
        ("cosine", {0: 0, 1: 0.2, 5: 1.0, 10: 0.5 * (1 + math.cos(math.pi / 3)), 20: 0}),
        ("constant", {0: 0, 1: 0.2, 5: 1.0, 10: 1.0, 19: 1.0}),
    ],
)
def test_rates_at_chosen_steps(schedule: str, rates: dict[int, float], still_backbone: str) -> None:
    module = built(still_backbone, schedule=schedule, warmup_ratio=0.25, learning_rate=0.1)
    module._trainer = Seen()  # type: ignore[assignment]
    configured: Any = module.configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    assert configured["lr_scheduler"]["interval"] == "step"
    seen = {}
    for step in range(21):
        seen[step] = optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()
    assert {step: seen[step] for step in rates} == pytest.approx({s: 0.1 * rate for s, rate in rates.items()}, abs=1e-9)


def test_biases_and_norms_do_not_decay_and_frozen_weights_are_no_affair_of_the_optimiser(still_backbone: str) -> None:
    for method in ("full", "lora"):
        module = built(still_backbone, method, weight_decay=0.3)
        module._trainer = Seen()  # type: ignore[assignment]
        configured: Any = module.configure_optimizers()
        names = {id(parameter): name for name, parameter in module.named_parameters() if parameter.requires_grad}
        decay = {names[id(p)]: g["weight_decay"] for g in configured["optimizer"].param_groups for p in g["params"]}
        assert decay.keys() == set(names.values())
        for name, value in decay.items():
            assert value == (0.0 if "bias" in name or "LayerNorm" in name else 0.3), name
        assert set(decay.values()) == {0.0, 0.3}
