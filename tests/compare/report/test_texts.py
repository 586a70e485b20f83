from pathlib import Path

import datasets
import huggingface_hub.constants
import pytest

from peft_lightning.compare.report.reading import read_study
from peft_lightning.compare.report.texts import read_texts
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
