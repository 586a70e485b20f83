import json
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub.constants
import pytest

from peft_lightning.compare.report.reading import read_study
from peft_lightning.compare.report.study import Run
from peft_lightning.compare.report.texts import Texts, read_texts
from peft_lightning.data.datamodule import TextDataModule
from peft_lightning.runs.record import DatasetFigures, RunRecord
from tests.compare.report.records import LORA, plan, write_run


def test_a_report_does_not_download_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = plan({"lora": LORA}, (1,), tmp_path).runs(tmp_path)
    write_run(run.folder / "lightning_logs" / "lora" / "version_0", LORA, 1, "lora", 40, source="imdb")
    allowed = []

    def load(*words: object) -> None:
        allowed.append(not (datasets.config.HF_HUB_OFFLINE and huggingface_hub.constants.HF_HUB_OFFLINE))
        raise ConnectionError("offline")

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets, "load_dataset", load)
    ((read, record),) = read_study(tmp_path).recipes[0].finished
    assert read_texts(read, record, [0]) == "The texts are not shown: imdb cannot be read from here without a network."
    assert allowed == [False]
    assert datasets.config.HF_HUB_OFFLINE is huggingface_hub.constants.HF_HUB_OFFLINE is False


def test_texts_of_a_source_with_its_own_validation_without_duplicates(tmp_path: Path) -> None:
    for split, numbers in (("train", range(40)), ("dev", range(30, 50)), ("eval", range(38, 60))):
        lines = [json.dumps({"text": f"film {n}", "label": n % 2}) + "\n" for n in numbers]
        (tmp_path / f"{split}.jsonl").write_text("".join(lines))
    config: dict[str, Any] = {"source": str(tmp_path), "text_column": "text", "label_column": "label", "seed": 1}
    config |= {"n_train": 20, "n_val": 10, "n_test": None, "test_split": "eval", "deduplicate": True}
    data = TextDataModule(**config, model_name_or_path="embedded", cache_dir=str(tmp_path / "cache"), max_length=16)
    data.setup("fit")
    record = RunRecord("0" * 32, "lora", "f" * 64, "lora", 1, 1)
    record.dataset = DatasetFigures(**data.description())
    texts = read_texts(Run(1, ".", "finished", config={"data": config}), record, [0, 21])
    assert isinstance(texts, Texts)
    assert texts.by_id == {0: "film 38", 21: "film 59"}
