"""Reviews of which few are positive, recipes that differ in the loss alone, and at a tiny size the whole of it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rare_class
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.recipes import read_config

ROOT = Path(__file__).resolve().parents[2]


def source(folder: Path, count: int = 400) -> Path:
    folder.mkdir()
    for split in ("train", "test"):
        words = {1: "a joy to watch", 0: "a bore to watch"}
        rows = [{"text": f"{words[n % 2]}, {split} viewer {n}", "label": n % 2} for n in range(count)]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}.parquet")
    return folder


def test_each_split_has_the_share_and_no_review_is_in_two(tmp_path: Path) -> None:
    reviews = tmp_path / "rare"
    rare_class.write_reviews(source(tmp_path / "all"), reviews, {"train": 100, "validation": 50, "test": 60}, 0.1, 1)
    splits = {split: pq.read_table(reviews / f"{split}.parquet") for split in ("train", "validation", "test")}
    counts = {split: (rows.num_rows, sum(rows["label"].to_pylist())) for split, rows in splits.items()}
    assert counts == {"train": (100, 10), "validation": (50, 5), "test": (60, 6)}
    texts = [text for rows in splits.values() for text in rows["text"].to_pylist()]
    assert len(set(texts)) == 210
    labels = splits["train"]["label"].to_pylist()
    assert labels not in (sorted(labels), sorted(labels, reverse=True))


def test_a_source_with_too_few_of_a_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="50 rows with label 1 are wanted, and there are 5"):
        rare_class.drawn(pq.read_table(source(tmp_path / "all", 10) / "test.parquet"), 100, 0.5, 1)


def test_recipes_differ_in_the_loss_alone(tmp_path: Path) -> None:
    files = rare_class.write_recipes(tmp_path)
    contents = {file.stem: read_config(file) for file in files}
    losses = {
        name: {key: content["model"].pop(key) for key in ("class_weights", "focal_gamma") if key in content["model"]}
        for name, content in contents.items()
    }
    assert losses == rare_class.LOSSES
    assert contents["balanced"] == contents["focal"] == contents["cross_entropy"]
    assert build_plan(list(map(str, files)), [1], baseline="cross_entropy").baseline == "cross_entropy"


@pytest.mark.slow
def test_a_tiny_one_leaves_a_report_by_each_metric(tmp_path: Path) -> None:
    words = [sys.executable, str(ROOT / "benchmarks/rare_class.py"), "--reviews", str(source(tmp_path / "all"))]
    words += ["--out", str(tmp_path / "rare"), "--share", "0.2", "--sizes", "40", "20", "40", "--seeds", "1"]
    words += ["--data.max_length", "16", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--no_forecast"]
    surroundings = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    subprocess.run(words, cwd=tmp_path, env=surroundings, check=True, capture_output=True, timeout=600)
    for metric, shown in {"f1.positive": "test F1 of positive", "pr_auc": "test PR-AUC"}.items():
        table = (tmp_path / "rare" / metric / "table.md").read_text().replace("\\_", "_")
        assert set(re.findall(r"^\| (\w+) \| 1 seed", table, re.MULTILINE)) == set(rare_class.LOSSES)
        assert shown in table.splitlines()[0], table.splitlines()[0]
