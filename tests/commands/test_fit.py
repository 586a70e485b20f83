import csv
import hashlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from peft_lightning.__main__ import main
from peft_lightning.backbone.locations import locate
from peft_lightning.callbacks.run_recorder import RunRecorder
from peft_lightning.data.datamodule import TextDataModule
from peft_lightning.module.classifier import LoRA, TextClassifier
from peft_lightning.runs.directory import RunDirectory
from peft_lightning.runs.process_start import SHARED
from peft_lightning.runs.record import RunRecord
from tests.integration.offline_run import checkpoint, only_run, record, same
from tests.samples import mostly_slow

RECORD = {
    "": "schema status error run_id recipe config_sha256 method seed data_seed backbone dataset params memory time"
    " engine not_measured problem_type metrics calibration history predictions checkpoint_bytes environment notes",
    "backbone": "name revision sha256 model_type",
    "dataset": "source fingerprint n_train n_val n_test max_length truncated_share"
    " val_split test_split train_repeats val_in_train test_in_train removed_from_train windows train_labels",
    "params": "trainable adapter head total trainable_percent",
    "memory": "weights_gib gradients_gib optimizer_gib activations_gib train_peak_allocated_gib"
    " train_peak_reserved_gib eval_peak_allocated_gib eval_peak_reserved_gib train_peak_rss_gib by_process",
    "time": "startup_s start train_s epoch_s eval_s eval_rows steps samples_per_s train_s_by_process",
    "engine": "name micro_batch_size unpadded_attention cudnn_attention processes batch_size global_batch_size"
    " by_process",
    "environment": "python torch lightning transformers peft bitsandbytes device precision deterministic git",
}
NULL_ON_A_CPU = {
    "activations_gib",
    "train_peak_allocated_gib",
    "train_peak_reserved_gib",
    "eval_peak_allocated_gib",
    "eval_peak_reserved_gib",
}
METRICS = {
    *("loss", "log_loss", "acc", "balanced_acc", "f1", "f1_micro", "f1_weighted", "mcc", "auroc", "pr_auc"),
    *("brier", "ece"),
    *(f"{figure}.{name}" for figure in ("precision", "recall", "f1", "pr_auc") for name in ("0", "1")),
}


def history(run: Path, name: str) -> dict[int, float]:
    """The points of one curve in history.csv, by step."""
    with (run / "history.csv").open() as file:
        return {int(row["step"]): float(row["value"]) for row in csv.DictReader(file) if row["name"] == name}


def digests(folder: Path) -> dict[str, str]:
    """What is in a folder, file by file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def without_dropout(folder: Path) -> str:
    """A copy of the embedded backbone that computes the same in training as in evaluation."""
    shutil.copytree(locate("embedded"), folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": None}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_leaves_a_complete_record(tiny_fit: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(tiny_fit)
    run = only_run(Path())
    assert run == Path("lightning_logs/lora/version_0")
    content = record(run)
    for section, names in RECORD.items():
        assert (content[section] if section else content).keys() == set(names.split()), section

    assert (content["schema"], content["status"], content["error"]) == (4, "finished", None)
    assert (content["recipe"], content["method"], content["seed"], content["data_seed"]) == ("lora", "lora", 42, 42)
    assert len(content["run_id"]) == 32
    assert len(content["config_sha256"]) == len(content["backbone"]["sha256"]) == 64
    assert content["backbone"]["name"] == "embedded"
    assert [content["dataset"][name] for name in ("n_train", "n_val", "n_test", "max_length")] == [32, 16, 16, 32]
    params = content["params"]
    assert params["trainable"] == params["adapter"] + params["head"]
    assert params["trainable_percent"] == pytest.approx(100 * params["trainable"] / params["total"])

    memory, time = content["memory"], content["time"]
    assert (memory.pop("by_process"), time.pop("train_s_by_process")) == (None, None)  # of one process
    assert {name for name, value in memory.items() if value is None} == NULL_ON_A_CPU
    assert all(value > 0 for value in memory.values() if value is not None)
    assert memory["train_peak_rss_gib"] > 0.1
    assert memory["gradients_gib"] * 2**30 == 4 * params["trainable"]
    assert time["steps"] == 4
    assert len(time["epoch_s"]) == 1
    assert 0 < time["epoch_s"][0] <= time["train_s"]
    assert time["samples_per_s"] == pytest.approx(32 / time["train_s"])
    assert time["startup_s"] > 0
    assert time["eval_s"] > 0
    assert time["eval_rows"] == 16 + 16

    assert content["metrics"].keys() == {f"{split}/{name}" for split in ("val", "test") for name in METRICS}
    assert (run / content["history"]).is_file()
    assert (run / content["predictions"]).is_file()
    assert content["checkpoint_bytes"] == (run / "checkpoints/best.ckpt").stat().st_size
    assert None not in [value for name, value in content["environment"].items() if name != "git"]
    assert content["environment"]["device"]
    assert list(run.rglob("*.partial")) == []

    printed = capsys.readouterr().out
    (row,) = [line for line in printed.splitlines() if line.startswith("lora ")]
    assert f"{params['trainable']:,} ({params['trainable_percent']:.2f} %)" in row
    assert "no GPU" in row
    assert f"{100 * content['metrics']['test/acc']:.1f} %" in row
    assert str(run) in printed


def test_the_record_is_read_back_as_it_was_written(tiny_fit: list[str]) -> None:
    main(tiny_fit)
    run = only_run(Path())
    RunRecord.read(run / "results.json").write(Path("again.json"))
    assert Path("again.json").read_bytes() == (run / "results.json").read_bytes()


@pytest.mark.slow
def test_the_saved_configuration_is_the_same_run_again(tiny_fit: list[str]) -> None:
    main(tiny_fit)
    first = only_run(Path())
    assert yaml.safe_load((first / "config.yaml").read_text())["data"]["n_train"] == 32
    main(["fit", "--config", str(first / "config.yaml")])
    second = first.with_name("version_1")
    ours, theirs = record(first), record(second)
    for part in ("config_sha256", "recipe", "metrics", "params", "dataset", "backbone"):
        assert ours[part] == theirs[part], part
    assert ours["run_id"] != theirs["run_id"]
    assert (first / "config.yaml").read_bytes() == (second / "config.yaml").read_bytes()
    states = [checkpoint(run / "checkpoints/best.ckpt")["state_dict"] for run in (first, second)]
    assert same(*states)


@pytest.mark.slow
def test_a_second_fit_leaves_the_first_alone(tiny_fit: list[str]) -> None:
    main(tiny_fit)
    before = digests(Path("lightning_logs/lora/version_0"))
    main(tiny_fit)
    assert sorted(path.name for path in Path("lightning_logs/lora").iterdir()) == ["version_0", "version_1"]
    assert digests(Path("lightning_logs/lora/version_0")) == before


@pytest.mark.slow
def test_history_follows_the_steps(tiny_fit: list[str]) -> None:
    main([*tiny_fit, "--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "2"])
    run = only_run(Path())
    with (run / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted(steps)
    assert all(math.isfinite(float(row["value"])) for row in rows)
    assert len({(row["step"], row["name"]) for row in rows}) == len(rows)
    for name in ("train/loss", "train/learning_rate", "train/gradient_norm"):
        assert list(history(run, name)) == [2, 4, 6, 8], name
    for name in METRICS:
        assert list(history(run, f"val/{name}")) == [4, 8]
        assert list(history(run, f"test/{name}")) == [8]
    assert list(history(run, "time/epoch_s").values()) == record(run)["time"]["epoch_s"]


@pytest.mark.slow
def test_the_curve_shows_the_mean_loss_since_the_last_point(tiny_fit: list[str], reviews: Path, tmp_path: Path) -> None:
    # Nothing is dropped and nothing moves: the losses can be computed again by other means.
    backbone = without_dropout(tmp_path / "backbone")
    still = ("--model.model_name_or_path", backbone, "--model.method.lora_dropout", "0")
    main([*tiny_fit, *still, "--model.learning_rate", "1e-15", "--trainer.log_every_n_steps", "2"])
    run = only_run(Path())
    module = TextClassifier(
        LoRA(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=["query", "value"]), model_name_or_path=backbone
    )
    data = TextDataModule(str(reviews), n_train=32, n_val=16, n_test=16, max_length=32, model_name_or_path=backbone)
    data.setup("fit")
    module.build(data.task)
    module.load_state_dict(checkpoint(run / "checkpoints/best.ckpt")["state_dict"], strict=False)
    torch.manual_seed(42)
    with torch.no_grad():
        losses = [float(module.loss(batch)) for batch in data.train_dataloader()]
    assert len(losses) == 4
    expected = {2: sum(losses[:2]) / 2, 4: sum(losses[2:]) / 2}
    assert history(run, "train/loss") == pytest.approx(expected, rel=1e-5)


def test_the_best_checkpoint_is_the_one_that_is_recorded_and_tested(tiny_fit: list[str]) -> None:
    main([*tiny_fit, "--trainer.max_epochs", "5", "--model.learning_rate", "1e-2", "--data.n_val", "24"])
    run = only_run(Path())
    accuracies = history(run, "val/acc")
    assert len(set(accuracies.values())) > 1, "these settings must let the accuracy change"
    best = max(accuracies, key=lambda step: accuracies[step])
    assert checkpoint(run / "checkpoints/best.ckpt")["global_step"] == best
    metrics = record(run)["metrics"]
    for name in METRICS:
        assert metrics[f"val/{name}"] == history(run, f"val/{name}")[best], name


@pytest.mark.slow
def test_a_metric_that_the_test_rows_leave_undefined_is_null(
    tiny_fit: list[str], reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (reviews / "test.jsonl").read_text().splitlines(keepends=True)
    (reviews / "test.jsonl").write_text("".join(line for line in lines if json.loads(line)["label"] == 1))
    main(tiny_fit)
    run = only_run(Path())
    metrics = record(run)["metrics"]
    assert metrics["test/auroc"] is None
    # Of the class without examples there are neither recall nor F1, and it was never answered or its precision is 0.
    undefined = {"test/auroc", "test/mcc", "test/recall.0", "test/f1.0", "test/pr_auc.0"}
    assert {name for name, value in metrics.items() if value is None} - {"test/precision.0"} == undefined
    assert RunRecord.read(run / "results.json").metrics["test/auroc"] is None
    assert history(run, "test/auroc") == {}
    assert list(history(run, "test/acc")) == [4]

    main(["test", "--config", str(run / "config.yaml"), "--ckpt_path", "best"])
    assert "test/auroc –" in capsys.readouterr().out
    (measured,) = run.glob("test_*/metrics.json")
    assert json.loads(measured.read_text())["metrics"]["test/auroc"] is None


@pytest.mark.slow
def test_limits_and_an_early_end_are_noted(tiny_fit: list[str]) -> None:
    limits = (
        "--trainer.limit_train_batches",
        "3",
        "--trainer.limit_test_batches",
        "0.5",
        "--data.eval_batch_size",
        "8",
    )
    stopping = ("--trainer.callbacks", "EarlyStopping", "--trainer.callbacks.monitor", "val/loss")
    threshold = ("--trainer.callbacks.stopping_threshold", "100", "--trainer.max_epochs", "3")
    main([*tiny_fit, *limits, *stopping, *threshold])
    assert record(only_run(Path()))["notes"] == [
        "trainer.limit_train_batches 3: an epoch trains on 3 of 4 batches",
        "trainer.limit_test_batches 0.5: test metrics and predictions are of 1 of 2 batches",
        "training ended at step 3 of 9",
    ]
    config = only_run(Path()) / "config.yaml"
    main(["test", "--config", str(config), "--ckpt_path", "last"])
    (measured,) = config.parent.glob("test_*/metrics.json")
    assert json.loads(measured.read_text())["notes"] == [
        "trainer.limit_test_batches 0.5: test metrics and predictions are of 1 of 2 batches"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("more", [["--trainer.max_epochs", "0"], ["--trainer.limit_train_batches", "0"]])
def test_a_run_that_trains_nothing_says_so(
    more: list[str], tiny_fit: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*tiny_fit, *more, "--model.quantize_on", "gpu"])
    nothing = "nothing was trained: the metrics are those of the weights that training starts from"
    notes = record(only_run(Path()))["notes"]
    assert notes[-1] == nothing
    assert "nothing is quantised, so model.quantize_on gpu changes nothing" in notes
    assert f"note: {nothing}" in capsys.readouterr().out


def test_another_monitor_chooses_the_checkpoint_and_its_figures(tiny_fit: list[str], tmp_path: Path) -> None:
    # Which rate lets the area see what the accuracy does not is the backbone's affair: the first one that does.
    for rate in ("1e-5", "3e-5", "1e-4", "3e-4"):
        root = tmp_path / rate
        settings = ("--trainer.max_epochs", "4", "--model.learning_rate", rate, "--trainer.default_root_dir", str(root))
        main([*tiny_fit, *settings, "--model.warmup_ratio", "0", "--checkpoint.monitor", "val/auroc"])
        run = only_run(root)
        areas, accuracies = history(run, "val/auroc"), history(run, "val/acc")
        best = max(areas, key=lambda step: areas[step])
        if best != max(accuracies, key=lambda step: accuracies[step]):
            break
    else:
        pytest.fail("at none of these rates would the accuracy have chosen another checkpoint")
    assert checkpoint(run / "checkpoints/best.ckpt")["global_step"] == best
    assert record(run)["metrics"]["val/auroc"] == areas[best]
    assert record(run)["metrics"]["val/loss"] == history(run, "val/loss")[best]


def test_every_test_example_has_one_prediction(tiny_fit: list[str], reviews: Path) -> None:
    import pyarrow.parquet as pq

    main([*tiny_fit, "--model.learning_rate", "1e-2"])
    run = only_run(Path())
    table = pq.read_table(run / "predictions.parquet").to_pydict()
    assert table.keys() == {"index", "label", "prediction", "probability_0", "probability_1", "tokens"}
    assert table["index"] == sorted(set(table["index"]))
    data = TextDataModule(str(reviews), n_train=32, n_val=16, n_test=16, max_length=32, model_name_or_path="embedded")
    data.setup("test")
    assert table["index"] == sorted(int(data.test[n]["index"]) for n in range(len(data.test)))
    lengths = {int(example["index"]): len(example["input_ids"]) for example in map(data.test.__getitem__, range(16))}
    assert table["tokens"] == [lengths[index] for index in table["index"]]
    rows = [json.loads(line) for line in (reviews / "test.jsonl").read_text().splitlines()]
    assert table["label"] == [rows[index]["label"] for index in table["index"]]
    right = [label == prediction for label, prediction in zip(table["label"], table["prediction"], strict=True)]
    assert sum(right) / len(right) == pytest.approx(record(run)["metrics"]["test/acc"])
    for prediction, negative, positive in zip(
        table["prediction"], table["probability_0"], table["probability_1"], strict=True
    ):
        assert negative + positive == pytest.approx(1, abs=1e-6)
        assert prediction == int(positive > negative)


@pytest.mark.parametrize("recipe", mostly_slow(["lora", "qlora", "ia3"], fast=["lora"]))
def test_checkpoints_hold_what_is_trained_and_nothing_else(recipe: str, tiny_fit: list[str]) -> None:
    main([word.replace("lora.yaml", f"{recipe}.yaml") for word in tiny_fit])
    run = only_run(Path())
    for name in ("best", "last"):
        content = checkpoint(run / f"checkpoints/{name}.ckpt")
        assert sum(tensor.numel() for tensor in content["state_dict"].values()) == record(run)["params"]["trainable"]
        assert not [key for key in content["state_dict"] if "embeddings" in key or "original_module" in key]
        assert ("optimizer_states" in content) == (name == "last")
        assert content["peft_lightning"]["method"] == recipe
        assert content["peft_lightning"]["class_names"] == ["0", "1"]


def test_without_a_test_the_run_is_finished_all_the_same(
    tiny_fit: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*tiny_fit, "--test_after_fit", "false"])
    run = only_run(Path())
    content = record(run)
    assert content["status"] == "finished"
    assert {name.partition("/")[0] for name in content["metrics"]} == {"val"}
    assert content["predictions"] is None
    assert not (run / "predictions.parquet").exists()
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("lora ")]
    assert row.rstrip().endswith("–")


def test_a_fast_dev_run_leaves_nothing(tiny_fit: list[str]) -> None:
    main([*tiny_fit, "--trainer.fast_dev_run", "true"])
    assert list(Path().iterdir()) == []


@pytest.mark.slow
def test_what_helps_to_watch_can_be_turned_off(tiny_fit: list[str]) -> None:
    main([*tiny_fit, "--trainer.logger", "false", "--trainer.default_root_dir", "elsewhere"])
    run = only_run(Path("elsewhere"))
    assert list(run.glob("events*")) == []
    assert record(run)["status"] == "finished"
    assert history(run, "train/loss")
    main(tiny_fit)
    assert record(only_run(Path()))["config_sha256"] == record(run)["config_sha256"]


def hparams(run: Path) -> tuple[dict[str, Any], Any]:
    """The settings in a run's HPARAMS tab, read as TensorBoard reads them, and the accumulator of the run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    data = HParamsPluginData()
    data.ParseFromString(events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content)
    return dict(data.session_start_info.hparams.items()), events


@pytest.mark.slow
def test_tensorboard_shows_curves_the_row_and_comparable_settings(tiny_fit: list[str]) -> None:
    main([*tiny_fit, "--trainer.max_epochs", "2"])
    run = only_run(Path())
    settings, events = hparams(run)
    scalars = set(events.Tags()["scalars"])
    assert {f"{split}/{name}" for split in ("val", "test") for name in METRICS} <= scalars
    assert {"train/loss", "train/learning_rate", "train/gradient_norm", "time/epoch_s"} <= scalars
    assert "memory/train_peak_rss_gib" in scalars
    assert "memory/train_peak_allocated_gib" not in scalars
    for name in ("train/loss", "val/acc"):
        points = {event.step: event.value for event in events.Scalars(name)}
        assert points == pytest.approx(history(run, name)), name
    (panel,) = events.Tensors("run/text_summary")
    text = panel.tensor_proto.string_val[0].decode()
    assert f"| lora | {record(run)['params']['trainable']:,} (" in text
    assert f"{100 * record(run)['metrics']['test/acc']:.1f} %" in text
    assert settings["method"].string_value == "LoRA"
    assert settings["method/r"].number_value == 16
    assert events.Scalars("test/acc")[-1].value == pytest.approx(record(run)["metrics"]["test/acc"])

    main([word.replace("lora.yaml", "ia3.yaml") for word in tiny_fit])
    others, _ = hparams(Path("lightning_logs/ia3/version_0"))
    common = {name for name in settings if not name.startswith("method/")}
    assert common == {name for name in others if not name.startswith("method/")}
    assert {"method", "learning_rate", "batch_size", "seed", "n_train", "precision"} <= common


@pytest.mark.slow
def test_a_new_run_can_start_from_another_one_s_last_checkpoint(tiny_fit: list[str]) -> None:
    main(tiny_fit)
    first = only_run(Path())
    before = digests(first)
    main([*tiny_fit, "--trainer.max_epochs", "2", "--ckpt_path", str(first / "checkpoints/last.ckpt")])
    assert digests(first) == before
    second = first.with_name("version_1")
    assert list(history(second, "train/loss")) == [5, 6, 7, 8]
    content = record(second)
    assert content["status"] == "finished"
    assert content["run_id"] != record(first)["run_id"]
    assert content["metrics"]["val/loss"] == history(second, "val/loss")[8]
    assert checkpoint(second / "checkpoints/best.ckpt")["global_step"] == 8


def test_weights_that_broke_in_the_last_step_replace_no_checkpoint(
    tiny_fit: list[str], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The loss of that step was still a number; the weights after it are none.
    Path("breaking.py").write_text(
        "from lightning.pytorch import Callback\n"
        "class Break(Callback):\n"
        "    def on_after_backward(self, trainer, pl_module):\n"
        "        if trainer.global_step == 7:\n"
        "            for p in pl_module.parameters():\n"
        "                if p.grad is not None:\n"
        "                    p.grad.fill_(float('nan'))\n"
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    with pytest.raises(SystemExit) as ended:
        main([*tiny_fit, "--trainer.max_epochs", "2", "--trainer.callbacks+=breaking.Break"])
    assert ended.value.code == 2
    assert "NaN" in capfd.readouterr().err.splitlines()[-1]
    run = only_run(Path())
    assert record(run)["status"] == "failed"
    for name in ("best", "last"):
        content = checkpoint(run / f"checkpoints/{name}.ckpt")
        assert content["global_step"] == 4
        assert all(bool(torch.isfinite(tensor).all()) for tensor in content["state_dict"].values())


@pytest.mark.slow
def test_of_a_run_that_shares_its_device_neither_times_nor_memory_are_recorded_also_after_a_resume(
    tiny_fit: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(SHARED, "4")
    main(tiny_fit)
    (run,) = Path("lightning_logs/lora").iterdir()
    content = json.loads((run / "results.json").read_text())
    assert content["not_measured"] == "runs shared the CPU"
    assert "times and memory are not measured, because up to 4 runs shared the CPU" in content["notes"]
    assert set(content["memory"].values()) == {None}
    times = {name: value for name, value in content["time"].items() if value not in (None, [])}
    assert times == {"steps": 4, "start": "cold"}
    assert content["metrics"]["test/acc"] is not None
    assert not [row for row in (run / "history.csv").read_text().splitlines() if ",time/" in row or ",memory/" in row]
    assert "– (shared)" in capsys.readouterr().out
    # A run that goes on with a device to itself has times of both parts.
    state = checkpoint(run / "checkpoints/last.ckpt")["callbacks"]["RunRecorder"]
    monkeypatch.delenv(SHARED)
    directory = RunDirectory(Path(), "lora")
    directory.open(run)
    alone = RunRecorder(directory, RunRecord("id", "lora", "sha", "lora", 1, 42), {})
    alone.load_state_dict(state)
    directory.release()
    assert alone.state_dict()["not_measured"] == "runs shared the CPU"
