"""What a method does beside adapting: it may add to the training loss, and change the model between two steps."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from peft_lightning.__main__ import main
from peft_lightning.methods import HeadOnly
from peft_lightning.methods.base import Method
from peft_lightning.module.classifier import TextClassifier
from peft_lightning.task import SingleLabel
from tests.integration.offline_run import checkpoint, only_run
from tests.methods.tiny_backbones import batch

AFTER: list[tuple[int, bool, bool]] = []
MASK = "model.classifier.out_proj.bias"


class Regularised(HeadOnly):
    """Adds 10 to the loss, and after each step sets a bias to the number of that step."""

    name = "regularised"

    def extra_loss(self, model: nn.Module) -> Tensor:
        return 10 + 0 * model.get_parameter("classifier.out_proj.bias").sum()

    def after_step(self, model: nn.Module, step: int) -> None:
        bias = model.get_parameter("classifier.out_proj.bias")
        AFTER.append((step, bias.grad is not None, bool((bias == step - 1).all())))
        with torch.no_grad():
            bias.fill_(step)


@pytest.fixture
def hooked_fit(tiny_fit: list[str]) -> list[str]:
    """A `fit` with the method above: four steps."""
    AFTER.clear()
    method = ["--model.method", "tests.module.test_method_hooks.Regularised", "--data.batch_size", "8"]
    return ["fit", *("--config", "configs/offline.yaml"), *tiny_fit[5:], *method]


def test_a_step_of_the_method_follows_every_optimiser_step(hooked_fit: list[str]) -> None:
    main([*hooked_fit, "--trainer.accumulate_grad_batches", "2", "--trainer.max_epochs", "2"])
    assert [step for step, *_ in AFTER] == [1, 2, 3, 4]
    assert all(has_gradient for _, has_gradient, _ in AFTER)
    # The optimiser has moved what the step before had set.
    assert not any(untouched for *_, untouched in AFTER[1:])


def test_what_the_method_changes_is_in_the_checkpoint(hooked_fit: list[str]) -> None:
    main(hooked_fit)
    state = checkpoint(only_run(Path.cwd()) / "checkpoints" / "last.ckpt")["state_dict"]
    assert torch.equal(state[MASK], torch.full_like(state[MASK], AFTER[-1][0]))


def test_the_training_loss_alone_holds_what_the_method_adds(still_backbone: str) -> None:
    losses = []
    for method in (HeadOnly(), Regularised()):
        torch.manual_seed(3)
        module = TextClassifier(method, model_name_or_path=still_backbone)
        module.build(SingleLabel(("bad", "good")))
        given = batch() | {"labels": torch.arange(4) % 2}
        losses.append(float(module.loss(given).detach()))
        module.validation_step(given, 0)
        assert float(module.val_metrics.compute_and_reset("val")["val/loss"]) == pytest.approx(losses[0])
    assert losses[1] == pytest.approx(losses[0] + 10)


def test_a_method_may_compute_its_name() -> None:
    class Named(HeadOnly):
        @property
        def name(self) -> str:  # type: ignore[override]
            return "vera"

    assert Named().name == "vera"
    with pytest.raises(TypeError, match="name"):
        type("Nameless", (Method,), {"adapt": HeadOnly.adapt})()
