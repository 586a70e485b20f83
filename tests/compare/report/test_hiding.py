from pathlib import Path

import pytest

from peft_lightning.compare.report.hiding import last_name, without_folders


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/ada/reviews/imdb", "…/imdb"),
        ("--data.source /home/ada/imdb --data.n_train 400", "--data.source …/imdb --data.n_train 400"),
        ("source: ~/imdb\nother: a/b", "source: …/imdb\nother: a/b"),
        ("cannot read '/tmp/x/y.parquet'", "cannot read '…/y.parquet'"),
        ("cannot read '/home/ada/my secret data/y.parquet'", "cannot read '…/y.parquet'"),
        ("cannot read /home/ada/my secret data/y.parquet: no", "cannot read …/y.parquet: no"),
        ("from /home/ada/x to /home/bob/y", "from …/x to …/y"),
        ("from ../acme-patients/train to ./bob/y", "from …/train to …/y"),
        ("file:///home/ada/reviews/imdb is gone", "…/imdb is gone"),
        ("acme/patients/train is gone", "…/train is gone"),
        (r"C:\Users\ada\imdb is gone", "…/imdb is gone"),
        ("stanfordnlp/imdb", "stanfordnlp/imdb"),
        ("see https://huggingface.co/docs/hub/index", "see https://huggingface.co/docs/hub/index"),
        ("1/2 of 3 seeds, 5 % and/or more", "1/2 of 3 seeds, 5 % and/or more"),
        ("peft_lightning.methods.LoRA", "peft_lightning.methods.LoRA"),
    ],
)
def test_texts_name_no_folders(text: str, shown: str) -> None:
    assert without_folders(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("/home/anna/secret/roberta", "…/roberta"),
        ("/home/anna/my secret data/my roberta", "…/my roberta"),
        ("../acme-patients/train", "…/train"),
        ("acme patients/train/", "…/train"),
        ("configs/study/lora.yaml", "…/lora.yaml"),
        ("file:///home/anna/reviews", "…/reviews"),
        ("~/reviews", "…/reviews"),
        (r"C:\Users\anna\reviews", "…/reviews"),
        ({"data": {"source": "/a/b", "files": ["/c/d", 3]}}, {"data": {"source": "…/b", "files": ["…/d", 3]}}),
        ("{path: /a/b/c, r: 4}", "{path: …/c, r: 4}"),
        ("stanfordnlp/imdb", "stanfordnlp/imdb"),
        ("roberta-base", "roberta-base"),
        ("x" * 300 + "/train", "…/train"),
        (1e-3, 1e-3),
        (None, None),
    ],
)
def test_of_a_setting_that_is_a_path_the_last_name_stays(value: object, shown: object) -> None:
    assert last_name(value) == shown


def test_a_folder_here_that_looks_like_a_name_on_the_hub_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "acme-patients" / "train").mkdir(parents=True)
    assert last_name("acme-patients/train") == "…/train"
