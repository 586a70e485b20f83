import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from peft_lightning.__main__ import main
from peft_lightning.compare.report.method_comparison import write_method_comparison
from peft_lightning.compare.report.peft_layout import as_result
from peft_lightning.compare.report.reading import read_study
from peft_lightning.errors import UserError
from tests.compare.report.records import FULL, LORA, comparison, fail

# What method_comparison/processing.py of huggingface/peft reads from a file, and the type that it makes of it.
READ: dict[tuple[str, ...], type] = {
    ("run_info", "experiment_name"): str,
    ("run_info", "train_config", "model_id"): str,
    ("run_info", "train_config"): str,
    ("run_info", "peft_config"): str,
    ("run_info", "peft_branch"): str,
    ("run_info", "created_at"): str,
    ("run_info", "total_time"): float,
    ("train_info", "accelerator_memory_reserved_avg"): int,
    ("train_info", "accelerator_memory_max"): int,
    ("train_info", "accelerator_memory_reserved_99th"): int,
    ("train_info", "train_time"): float,
    ("train_info", "file_size"): int,
    ("train_info", "num_trainable_params"): int,
    ("train_info", "status"): str,
    ("train_info", "metrics", "test accuracy"): float,
    ("train_info", "metrics", "train loss"): float,
    ("train_info", "metrics", "train samples"): int,
    ("train_info", "metrics", "train total tokens"): int,
    ("meta_info", "package_info", "peft-version"): str,
    ("meta_info", "package_info", "transformers-version"): str,
    ("meta_info", "package_info", "datasets-version"): str,
    ("meta_info", "package_info", "torch-version"): str,
    ("meta_info", "package_info", "bitsandbytes-version"): str,
    ("meta_info", "package_info"): str,
    ("meta_info", "system_info"): str,
}


def read(content: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        content = content[key]
        if key == "metrics":
            content = content[-1]
    return content


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = comparison(tmp_path_factory.mktemp("comparison"), {"full": FULL, "lora": LORA}, (1, 2), 60)
    directory = next((folder / "runs/lora/seed_2").rglob("results.json"))
    record = json.loads(directory.read_text())
    directory.write_text(json.dumps(record | {"status": "out_of_memory", "error": "CUDA out of memory"}))
    fail(folder / "runs/lora/seed_2", "out_of_memory", "CUDA out of memory")
    write_method_comparison(folder, (), folder / "peft")
    return folder


def content(folder: Path, name: str) -> Any:
    return json.loads((folder / "peft" / f"{name}.json").read_text())


def test_every_run_has_a_file_with_all_keys_that_peft_s_application_reads(folder: Path) -> None:
    files = sorted((folder / "peft").iterdir())
    assert [path.name for path in files] == [
        "full--full-seed_1.json", "full--full-seed_2.json", "lora--lora-seed_1.json", "lora--lora-seed_2.json",
    ]  # fmt: skip
    for path in files:
        for key in READ:
            read(json.loads(path.read_text()), key)


def test_figures_are_the_record_s_in_peft_s_units_and_what_was_not_measured_is_null(folder: Path) -> None:
    shown = content(folder, "lora--lora-seed_1")
    record = json.loads(next((folder / "runs/lora/seed_1").rglob("results.json")).read_text())
    told = shown["train_info"]
    assert told["accelerator_memory_max"] == round(record["memory"]["train_peak_reserved_gib"] * 2**30)
    assert told["train_time"] == record["time"]["train_s"]
    assert told["file_size"] == record["checkpoint_bytes"]
    assert told["num_trainable_params"] == record["params"]["trainable"]
    assert told["metrics"][-1]["test accuracy"] == record["metrics"]["test/acc"]
    assert told["metrics"][-1]["train samples"] == 9000
    assert [entry["step"] for entry in told["metrics"][:-1]] == [375, 750, 1125]
    assert shown["run_info"]["total_time"] == pytest.approx(9 + record["time"]["train_s"] + 30)
    assert shown["run_info"]["train_config"]["model_id"] == "roberta-base"
    assert shown["run_info"]["train_config"]["optimizer_kwargs"]["lr"] == 1e-3
    for key in ("accelerator_memory_reserved_avg", "accelerator_memory_reserved_99th"):
        assert told[key] is None
    assert told["metrics"][-1]["train total tokens"] is None
    assert shown["run_info"]["created_at"] is None


def test_full_fine_tuning_has_no_configuration_and_other_methods_their_type(folder: Path) -> None:
    assert content(folder, "full--full-seed_1")["run_info"]["peft_config"] is None
    assert content(folder, "lora--lora-seed_1")["run_info"]["peft_config"]["peft_type"] == "LORA"


def test_a_type_in_peft_s_own_words_keeps_its_arguments(folder: Path) -> None:
    study = read_study(folder)
    recipe, run = next(pair for pair in study.runs if pair[0].label == "lora")
    assert run.record is not None
    assert run.config is not None
    method = {"init_args": {"config": {"peft_type": "VERA", "r": 256, "d_initial": float("inf")}, "adapter_seed": None}}
    stated = replace(run, config=run.config | {"model": run.config["model"] | {"method": method}})
    shown = as_result(study, recipe, stated, run.record)["run_info"]["peft_config"]
    assert shown == {"peft_type": "VERA", "adapter_seed": None, "r": 256, "d_initial": "inf"}


def test_a_run_that_ended_early_is_no_success(folder: Path) -> None:
    shown = content(folder, "lora--lora-seed_2")
    assert shown["train_info"]["status"] == "canceled"
    assert shown["run_info"]["error_msg"] == "CUDA out of memory"


def test_a_number_in_place_of_null_can_be_read_as_peft_s_application_reads_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables are of whole numbers, which hold no null."""
    pandas = pytest.importorskip("pandas")
    monkeypatch.setattr("peft_lightning.compare.report.write_report", lambda *words: ())  # the page is not the question
    main(["report", str(folder), "--method_comparison", str(tmp_path), "--in_place_of_null", "-1", "--no_texts"])
    contents = [json.loads(path.read_text()) for path in tmp_path.iterdir()]
    rows = [
        {key[-1]: read(content, key) for key in READ}
        for content in contents
        if content["train_info"]["status"] == "success"
    ]
    types = {key[-1]: "string" if kind is str else kind for key, kind in READ.items()}
    table = pandas.DataFrame(rows).astype(types)
    pandas.to_datetime(table["created_at"])
    assert table["total_time"].round().astype(int).min() > 0
    assert set(table["accelerator_memory_reserved_avg"]) == {-1}
    assert len(table.drop_duplicates(["experiment_name", "model_id", "created_at"])) == 3


def test_a_folder_that_is_a_file_is_one_line(folder: Path) -> None:
    with pytest.raises(UserError, match=r"plan\.json cannot be made \(File exists\): name another folder"):
        write_method_comparison(folder, (), folder / "plan.json")


def test_a_number_without_files_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", str(folder), "--in_place_of_null", "-1"])
    assert ended.value.code == 2
    assert "--in_place_of_null is for the files of --method_comparison" in capsys.readouterr().err
