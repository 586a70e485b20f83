from pathlib import Path

import pytest
import torch

from peft_lightning.__main__ import main
from peft_lightning.errors import UserError
from peft_lightning.module.classifier import TextClassifier
from tests.commands.test_predict import TEXTS, lines_of
from tests.integration.offline_run import only_run

METHODS = ["full", "lora", "qlora", "ia3"]


@pytest.mark.parametrize(
    ("method", "precision"),
    [
        pytest.param(name, precision, marks=[] if (name, precision) == ("lora", "32-true") else pytest.mark.slow)
        for name, precision in [*((name, "32-true") for name in METHODS), ("lora", "bf16-mixed")]
    ],
)
def test_a_trained_model_answers_as_predict_does(
    method: str, precision: str, tiny_fit: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", "--config", f"configs/{method}.yaml", *tiny_fit[3:]]
    main([*words, "--model.learning_rate", "1e-2", "--trainer.precision", precision])
    run = only_run(Path.cwd())
    Path("reviews.txt").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    capsys.readouterr()
    main(["predict", "--config", str(run / "config.yaml"), "--ckpt_path", "best", "--data.predict_file", "reviews.txt"])
    told = lines_of(capsys.readouterr().out)
    model = TextClassifier.load_trained(run)
    assert not model.training
    assert model.answer(TEXTS) == told
    one_by_one = [answer["probabilities"]["1"] for answer in model.answer(TEXTS, batch_size=1)]
    tolerance = 1e-4 if precision == "32-true" else 1e-2
    assert one_by_one == pytest.approx([answer["probabilities"]["1"] for answer in told], abs=tolerance)


@pytest.mark.slow
def test_the_last_checkpoint_or_any_file_may_be_loaded(tiny_fit: list[str]) -> None:
    main(tiny_fit)
    run = only_run(Path.cwd())
    last = TextClassifier.load_trained(run, "last")
    named = TextClassifier.load_trained(str(run), str(run / "checkpoints" / "last.ckpt"))
    for (name, value), (_, other) in zip(last.named_parameters(), named.named_parameters(), strict=True):
        # PEFT keeps the head that it was given, which no checkpoint holds and nothing computes with.
        assert torch.equal(value, other) or "original_module" in name, name


def test_what_is_no_run_is_refused_in_a_line(tiny_fit: list[str]) -> None:
    with pytest.raises(UserError, match="holds no run"):
        TextClassifier.load_trained("nowhere")
    main([*tiny_fit, "--trainer.limit_val_batches", "0"])
    with pytest.raises(UserError, match=r"no checkpoint .*best\.ckpt"):
        TextClassifier.load_trained(only_run(Path.cwd()))


def test_a_module_that_was_not_loaded_does_not_guess_how_texts_are_read() -> None:
    from peft_lightning.methods import LoRA

    with pytest.raises(RuntimeError, match="load_trained"):
        TextClassifier(LoRA()).answer(["a joy"])
