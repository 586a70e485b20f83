"""A run killed with SIGKILL and resumed ends with the bits of a run that was left alone."""

from pathlib import Path

import pytest

from tests.integration.offline_run import checkpoint, curves, fit, history, only_run, record, run, same

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

# 6 steps an epoch, 2 epochs, a checkpoint every 2 steps: each run dies at all of these places, one after the other.
PLACES = (
    "in_step:0",
    "in_step:3",
    "after_saving_step:4",
    "in_validation:0",
    "after_validation:0",
    "at_epoch_end:0",
    "before_saving_step:8",
    "while_saving:2",
    "before_saving_step:12",
    "in_test",
)
EXTRA = {
    "full": ("--data.num_workers", "2"),
    "lora": ("--data.num_workers", "2", "--trainer.accumulate_grad_batches", "1"),
    "qlora": (),
    "ia3": (),
}
SIGKILLED = -9


@pytest.mark.parametrize(
    ("recipe", "in_background"),
    [("full", False), ("full", True), ("lora", False), ("qlora", False), ("qlora", True), ("ia3", False)],
)
def test_killed_and_resumed_run_equals_an_uninterrupted_one(recipe: str, in_background: bool, tmp_path: Path) -> None:
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir()
    killed.mkdir()
    # A rate that moves the weights: with the study's, equal accuracies would show little.
    extra = ("--model.learning_rate", "1e-3", *EXTRA[recipe])
    outcome = fit(recipe, alone, *extra)
    assert outcome.code == 0, outcome.err
    for number, place in enumerate(PLACES):
        outcome = fit(recipe, killed, *extra, die_at=place, resume=number > 0, in_background=in_background)
        assert outcome.code == SIGKILLED, (place, outcome.out, outcome.err)
        assert record(only_run(killed))["status"] == "running"
    outcome = fit(recipe, killed, *extra, resume=True, in_background=in_background)
    assert outcome.code == 0, outcome.err

    left, right = only_run(alone), only_run(killed)
    for name in ("last", "best"):
        ours, theirs = checkpoint(left / f"checkpoints/{name}.ckpt"), checkpoint(right / f"checkpoints/{name}.ckpt")
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step"):
            assert same(ours.get(part), theirs.get(part)), (name, part)
    assert history(left) == history(right)
    assert curves(left) == curves(right)
    assert (left / "predictions.parquet").read_bytes() == (right / "predictions.parquet").read_bytes()
    ours, theirs = record(left), record(right)
    for part in ("status", "metrics", "params", "dataset", "backbone", "config_sha256", "checkpoint_bytes", "notes"):
        assert ours[part] == theirs[part], part
    assert ours["time"]["steps"] == theirs["time"]["steps"] == 12
    assert len(theirs["time"]["epoch_s"]) == 2


@pytest.mark.parametrize("recipe", ["full", "lora", "qlora", "ia3"])
def test_a_lean_run_resumes_exactly_too(recipe: str, tmp_path: Path) -> None:
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir()
    killed.mkdir()
    extra = ("--config", "configs/lean.yaml", "--model.learning_rate", "1e-3")
    assert fit(recipe, alone, *extra).code == 0
    assert fit(recipe, killed, *extra, die_at="in_step:3").code == SIGKILLED
    assert fit(recipe, killed, *extra, die_at="before_saving_step:8", resume=True).code == SIGKILLED
    outcome = fit(recipe, killed, *extra, resume=True)
    assert outcome.code == 0, outcome.err
    left, right = only_run(alone), only_run(killed)
    for name in ("last", "best"):
        ours, theirs = checkpoint(left / f"checkpoints/{name}.ckpt"), checkpoint(right / f"checkpoints/{name}.ckpt")
        for part in ("state_dict", "optimizer_states", "global_step"):
            assert same(ours.get(part), theirs.get(part)), (name, part)
    assert history(left) == history(right)
    assert (left / "predictions.parquet").read_bytes() == (right / "predictions.parquet").read_bytes()
    # A checkpoint holds what is trained: never a packed weight, bf16 only where that is what was trained.
    types = {str(value.dtype) for value in checkpoint(left / "checkpoints/best.ckpt")["state_dict"].values()}
    assert types == ({"torch.float32", "torch.bfloat16"} if recipe == "full" else {"torch.float32"})
    config = ["--config", str(right / "config.yaml"), "--ckpt_path", "best"]
    outcome = run(["test", *config], killed)
    assert outcome.code == 0, outcome.err
    assert (right / "test_0/predictions.parquet").read_bytes() == (right / "predictions.parquet").read_bytes()


def test_dropout_is_on_in_these_runs(tmp_path: Path) -> None:
    # Otherwise the comparison above would not see a random state that was lost.
    assert fit("full", tmp_path / "", "--seed_everything", "1").code == 0
    first = checkpoint(only_run(tmp_path) / "checkpoints/last.ckpt")["state_dict"]
    other = tmp_path / "other"
    other.mkdir()
    assert fit("full", other, "--seed_everything", "1").code == 0
    assert same(first, checkpoint(only_run(other) / "checkpoints/last.ckpt")["state_dict"])
    from transformers import AutoConfig

    from peft_lightning.backbone.locations import locate

    assert AutoConfig.from_pretrained(locate("embedded")).hidden_dropout_prob > 0


def test_accumulated_batches_resume_exactly(tmp_path: Path) -> None:
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir()
    killed.mkdir()
    extra = ("--trainer.accumulate_grad_batches", "2", "--data.batch_size", "4", "--model.learning_rate", "1e-3")
    assert fit("lora", alone, *extra).code == 0
    assert fit("lora", killed, *extra, die_at="in_step:5").code == SIGKILLED
    assert fit("lora", killed, *extra, resume=True).code == 0
    ours, theirs = only_run(alone), only_run(killed)
    assert same(
        checkpoint(ours / "checkpoints/last.ckpt")["state_dict"],
        checkpoint(theirs / "checkpoints/last.ckpt")["state_dict"],
    )
    assert history(ours) == history(theirs)
