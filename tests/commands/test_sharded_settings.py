"""What does not go with sharded weights ends in one line, before anything is written."""

from pathlib import Path

import pytest

from peft_lightning.__main__ import main
from tests.commands.test_trainer_features import ending
from tests.integration.offline_run import only_run
from tests.samples import sampled


@pytest.mark.parametrize(
    ("extra", "expected"),
    sampled(
        [
            (["--engine", "graph"], ["not captured", "leave --engine graph out"]),
            (["--memory_limit_gib", "4"], ["leave --memory_limit_gib out", "--data.batch_size"]),
            (["--model.optimizer", "paged_adamw_8bit"], ["paged_adamw_8bit", "use --model.optimizer adamw"]),
            (["--model.optimizer", "adamw_8bit"], ["adamw_8bit", "use --model.optimizer adamw"]),
            (["--trainer.precision", "64-true"], ["64-true", "use --trainer.precision bf16-mixed"]),
            (
                ["--model.method", "PEFT", "--model.method.config", "{peft_type: ADALORA, target_modules: [query]}"],
                ["adalora changes weights outside their layers", "use --trainer.strategy ddp"],
            ),
            (
                ["--config", "configs/peft/eva.yaml"],
                ["eva starts from data", "use --trainer.strategy ddp"],
            ),
            (
                ["--model.quantization", "nf4"],
                ["weights in nf4 are packed", "leave --model.quantization out, or use --trainer.strategy ddp"],
            ),
            (
                ["--config", "configs/qlora.yaml"],
                ["choose another method than qlora with --model.backbone_dtype bfloat16"],
            ),
            (["--trainer.precision", "16"], ["trainer.precision 16 ", "--trainer.precision bf16-mixed"]),
            (["--trainer.precision", "16-true"], ["trainer.precision 16-true", "--trainer.precision bf16-mixed"]),
            (["--data.truncation", "windows"], ["windows", "use --data.truncation head"]),
            (["--data.eval_batch_size", "1"], ["eval_batch_size 1", "use --data.eval_batch_size 2"]),
        ],
        every=3,
    ),
)
def test_refused_before_anything_is_written(
    extra: list[str], expected: list[str], tiny_fit: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    line = ending([*tiny_fit, "--trainer.strategy", "fsdp2", *extra], capsys)
    for part in expected:
        assert part in line, line
    assert not Path("lightning_logs").exists()


@pytest.mark.slow
def test_a_test_need_not_name_another_optimizer_than_training_had(
    tiny_fit: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*tiny_fit, "--model.optimizer", "adamw_8bit"])
    run = only_run(Path())
    words = ["test", "--config", str(run / "config.yaml"), "--ckpt_path", "last", "--trainer.strategy", "fsdp2"]
    main(words)
    assert "packs its state" not in capsys.readouterr().err
