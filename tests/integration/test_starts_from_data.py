"""Methods with a state of their own, in the real program: killed and resumed, in two processes, in a forecast."""

from pathlib import Path

import pytest
import torch
import yaml

from tests.commands.test_fit import without_dropout
from tests.integration.offline_run import checkpoint, fit, history, only_run, record, run, same

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SIGKILLED = -9
SHORT = ("--trainer.max_epochs", "1", "--data.batch_size", "8", "--model.method.start_batches", "4")


@pytest.mark.parametrize("recipe", ["peft/eva", "peft/lora_ga", "peft/adalora"])
def test_a_killed_run_resumes_to_the_same_bits_and_computes_its_start_once(recipe: str, tmp_path: Path) -> None:
    alone, killed = tmp_path / "alone", tmp_path / "killed"
    alone.mkdir()
    killed.mkdir()
    outcome = fit(recipe, alone, *SHORT)
    assert outcome.code == 0, outcome.err
    assert fit(recipe, killed, *SHORT, die_at="in_step:3").code == SIGKILLED
    outcome = fit(recipe, killed, *SHORT, resume=True)
    assert outcome.code == 0, outcome.err
    left, right = only_run(alone), only_run(killed)
    assert left.parent.name == recipe.removeprefix("peft/")
    for name in ("last", "best"):
        ours, theirs = checkpoint(left / f"checkpoints/{name}.ckpt"), checkpoint(right / f"checkpoints/{name}.ckpt")
        for part in ("state_dict", "optimizer_states", "peft_lightning", "global_step"):
            assert same(ours.get(part), theirs.get(part)), (name, part)
    assert history(left) == history(right)
    assert (left / "predictions.parquet").read_bytes() == (right / "predictions.parquet").read_bytes()
    assert record(left)["notes"] == record(right)["notes"]
    if recipe != "peft/adalora":
        assert f"{left.parent.name} started from 4 training batches" in record(left)["notes"]


@pytest.mark.parametrize("recipe", ["peft/eva", "peft/lora_ga", "peft/corda"])
def test_two_processes_have_the_start_of_one_that_takes_the_same_steps(recipe: str, tmp_path: Path) -> None:
    # A few directions, which come to rest in these few short batches. Without dropout, whose masks follow the batches.
    still = without_dropout(tmp_path / "still")
    words = (*SHORT, "--model.model_name_or_path", still, "--model.method.config.r", "4")
    starts = []
    for processes in ("1", "2"):
        folder = tmp_path / processes
        folder.mkdir()
        sized = ("--data.batch_size", str(8 // int(processes)), "--trainer.devices", processes)
        outcome = fit(recipe, folder, *words, *sized)
        assert outcome.code == 0, outcome.err
        done = only_run(folder)
        name = done.parent.name
        assert f"{name} started from 4 training batches" in record(done)["notes"]
        state = checkpoint(done / "checkpoints/last.ckpt")["peft_lightning"]["method_state"]
        starts.append(state["start"] if "start" in state else state[name]["start"])
    assert same(*starts)
    tested = run(
        ["test", "--config", str(done / "config.yaml"), "--ckpt_path", "best", "--trainer.devices=1"], tmp_path
    )
    assert tested.code == 0, tested.err


def test_a_forecast_takes_the_first_steps_of_a_long_schedule(tmp_path: Path) -> None:
    recipe = tmp_path / "long.yaml"
    settings = yaml.safe_load((Path(__file__).resolve().parents[2] / "configs/peft/adalora.yaml").read_text())
    settings["model"]["method"]["init_args"]["config"] |= {"tinit": 10, "tfinal": 4}
    recipe.write_text(yaml.safe_dump(settings))
    words = ["fit", "--config", str(recipe), "--config", "configs/offline.yaml", "--data.n_train", "48"]
    words += ["--data.n_val", "16", "--data.n_test", "16", "--data.max_length", "16", "--trainer.max_steps", "4"]
    words += ["--test_after_fit", "false", "--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    refused = run(words, tmp_path)
    assert refused.code == 2
    assert "this run has 4: choose smaller tinit and tfinal" in refused.err
    rehearsed = run([*words, "--rehearsal", "true"], tmp_path)
    assert rehearsed.code == 0, rehearsed.err
    newest = max((tmp_path / "lightning_logs/adalora").iterdir())
    memory = checkpoint(newest / "checkpoints/last.ckpt")["peft_lightning"]["method_state"]["adalora"]["memory"]
    assert all(bool(torch.any(value != 0)) for value in memory["exp_avg_ipt"].values())
