from typing import Any

import pytest
from lightning.pytorch import Trainer

from peft_lightning.__main__ import main
from peft_lightning.engine.job_size import JobSize, job_size
from peft_lightning.engine.training_data import training_data
from peft_lightning.module.classifier import TextClassifier
from tests.callbacks.scripted import ScriptedData, ScriptedModule


@pytest.mark.slow
def test_a_job_is_its_batches_and_what_a_step_keeps(tiny_fit: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[JobSize] = []
    widths: list[int] = []

    def start(module: TextClassifier) -> None:
        sizes.append(job_size(module.trainer))
        assert module.model is not None
        config: Any = module.model.config
        widths.append(config.num_hidden_layers * config.hidden_size)

    def batch(module: TextClassifier, batch: dict[str, Any], batch_idx: int) -> None:
        tokens.append(batch["input_ids"].numel())

    tokens: list[int] = []
    monkeypatch.setattr(TextClassifier, "on_train_start", start)
    monkeypatch.setattr(TextClassifier, "on_train_batch_start", batch)
    words = [*tiny_fit, "--trainer.max_epochs", "3", "--data.batch_size", "8", "--trainer.accumulate_grad_batches", "2"]
    main(words)
    (size,) = sizes
    assert size.batches == len(tokens) == 12
    assert size.activations == widths[0] * max(tokens)


def test_of_data_that_do_not_say_nothing_is_known() -> None:
    trainer = Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, max_steps=1
    )
    trainer.fit(ScriptedModule(), datamodule=ScriptedData())
    assert training_data(trainer) is None
    assert job_size(trainer) == (0, 0)
