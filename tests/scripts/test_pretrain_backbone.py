"""Pretraining: never a test review, a folder that loads, a run that goes on where it was cut off."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from peft_lightning.data.embedded import load_split

SCRIPT = Path(__file__).parents[2] / "scripts" / "pretrain_backbone.py"
POISON = "xylocarpous"
TINY = [
    *("--layers", "1", "--hidden", "32", "--vocab", "600", "--batch", "8", "--seq", "32", "--lr", "5e-3"),
    *("--steps", "200", "--precision", "32-true", "--accelerator", "cpu", "--checkpoint-seconds", "0.2"),
]


def write_reviews(path: Path, texts: list[str], label: int = 0) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": texts, "label": [label] * len(texts)}), path)


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as users have it, the test reviews among the rest and impossible to read."""
    folder = tmp_path_factory.mktemp("imdb")
    texts = [f"{text}<br /><br />The end." for text in load_split("train", 150)[0]]
    write_reviews(folder / "train.parquet", texts[:100])
    write_reviews(folder / "unsupervised.parquet", texts[100:], label=-1)
    # A pipe that nobody writes to: whoever opens it waits for ever.
    os.mkfifo(folder / "test.parquet")
    return folder


QUIET = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def command(reviews: Path, out: Path) -> list[str]:
    return [
        sys.executable,
        str(SCRIPT),
        "--reviews",
        str(reviews),
        "--out",
        str(out),
        "--run",
        f"{out}-run",
        *TINY,
    ]


@pytest.fixture(scope="module")
def pretrained(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrained") / "backbone"
    done = subprocess.run(command(reviews, out), capture_output=True, text=True, timeout=240, check=False, env=QUIET)
    assert done.returncode == 0, done.stderr[-2000:]
    return out


def wait_for_checkpoint(folder: Path, process: subprocess.Popen[bytes]) -> Path:
    for _ in range(20_000):
        if found := list(folder.glob("step-*.ckpt")):
            return found[0]
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise AssertionError("no checkpoint was written")


def test_only_training_and_unlabelled_reviews_are_opened(reviews: Path, tmp_path: Path) -> None:
    """Every file that is opened in the folder, as the interpreter itself reports it."""
    listener = (
        "import sys; opened = []\n"
        "sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == 'open' else None)\n"
        "from pathlib import Path; from pretraining.reviews import read_reviews\n"
        f"read = read_reviews(Path({str(reviews)!r}))\n"
        f"print(sorted(p for p in set(opened) if p.startswith({str(reviews)!r})), read.files)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", listener],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=SCRIPT.parent,
        check=True,
    )
    allowed = [str(reviews / "train.parquet"), str(reviews / "unsupervised.parquet")]
    assert done.stdout.strip() == f"{allowed} {{'train.parquet': 100, 'unsupervised.parquet': 50}}"


def test_nothing_but_the_reading_module_knows_how_to_read_reviews() -> None:
    sources = [SCRIPT, *SCRIPT.parent.joinpath("pretraining").glob("*.py")]
    assert len(sources) >= 7
    readers = [p.name for p in sources if re.search(r"pyarrow|pandas|datasets\b", p.read_text(encoding="utf-8"))]
    assert readers == ["reviews.py"]


def test_a_poisoned_test_file_leaves_no_trace(tmp_path: Path) -> None:
    from pretraining.reviews import read_reviews

    write_reviews(tmp_path / "train.parquet", ["One plain review."])
    before = read_reviews(tmp_path)
    write_reviews(tmp_path / "test.parquet", [POISON] * 50)
    assert read_reviews(tmp_path) == before
    assert POISON not in " ".join(before.texts)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [("test.parquet", ["a"], "train.parquet"), ("train.parquet", [], "holds no review")],
)
def test_without_training_reviews_one_line(
    name: str, content: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pretrain_backbone

    write_reviews(tmp_path / name, content)
    argv = ["--reviews", str(tmp_path), "--out", str(tmp_path / "out"), "--run", str(tmp_path / "run")]
    assert pretrain_backbone.main(argv) == 2
    error = capsys.readouterr().err.strip()
    assert says in error
    assert "\n" not in error


def test_an_epoch_visits_every_window_once_and_a_step_is_a_function_of_its_number() -> None:
    from pretraining.bpe import BOS, EOS
    from pretraining.packing import PackedTokens

    tokens = torch.arange(10, 10 + 1000, dtype=torch.int32)
    packed = PackedTokens(tokens, seq=12, batch=4, long_every=3, seed=7)
    rows = [packed.rows(step) for step in range(packed.steps_per_epoch)]
    assert {tuple(r.shape) for r in rows} == {(4, 12), (2, 24)}
    assert all((r[:, 0] == BOS).all() and (r[:, -1] == EOS).all() for r in rows)
    inside = torch.cat([r[:, 1:-1].flatten() for r in rows])
    assert len(inside.unique()) == len(inside), "a token was shown twice in an epoch"
    again = PackedTokens(tokens, seq=12, batch=4, long_every=3, seed=7)
    assert torch.equal(again.rows(5), rows[5])
    assert not torch.equal(packed.rows(packed.steps_per_epoch), rows[0])


def test_masks_hide_what_is_asked_for_and_never_a_special_token() -> None:
    from pretraining.bpe import BOS, EOS, MASK
    from pretraining.masked_lm import draw_masks

    rows = torch.randint(5, 400, (64, 100))
    rows[:, 0], rows[:, 50], rows[:, -1] = BOS, EOS, EOS
    shown, positions, targets = draw_masks(rows, 0.2, 400, torch.Generator().manual_seed(1))
    assert positions.shape == targets.shape == (64, 20)
    assert torch.equal(rows.gather(1, positions), targets)
    changed = shown != rows
    assert not changed[:, [0, 50, -1]].any()
    hidden = (shown == MASK).float().sum() / targets.numel()
    assert 0.75 < hidden < 0.85
    assert changed.sum() <= targets.numel()


def test_the_time_decides_the_learning_rate_and_the_end() -> None:
    from pretraining.budget import Budget
    from pretraining.masked_lm import MaskedLanguageModel, roberta_config
    from pretraining.packing import PackedTokens

    data = PackedTokens(torch.zeros(400, dtype=torch.int32), seq=12, batch=4, long_every=0, seed=1)
    network = MaskedLanguageModel(roberta_config(300, 32, 1), data=data, learning_rate=1.0, warmup=0.1)
    rates = []
    for progress in (0.0, 0.05, 0.1, 0.55, 1.0):
        network.progress = progress
        rates.append(round(network.rate(), 6))
    assert rates == [0.0, 0.5, 1.0, 0.5, 0.0]
    budget = Budget(minutes=1.0)
    budget.load_state_dict({"settling": 20.0, "trained": 30.0})
    assert budget._progress(step=123) == pytest.approx(0.75)
    assert Budget(minutes=1.0, steps=200)._progress(step=50) == 0.25


def load(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model, report = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2, output_loading_info=True)
    return AutoTokenizer.from_pretrained(folder), model, report


@pytest.mark.slow
def test_ends_with_a_folder_that_loads(pretrained: Path) -> None:
    out = pretrained
    tokenizer, model, report = load(out)
    assert not report["unexpected_keys"]
    assert {key.split(".")[0] for key in report["missing_keys"]} == {"classifier"}
    assert next(model.parameters()).dtype == torch.float32
    assert tokenizer.is_fast
    assert tokenizer.model_max_length == 512
    assert (tokenizer.cls_token, tokenizer.sep_token, tokenizer.pad_token, tokenizer.mask_token) == (
        "<s>",
        "</s>",
        "<pad>",
        "<mask>",
    )
    assert tokenizer("A film")["input_ids"] == tokenizer(" a FILM")["input_ids"]
    assert tokenizer("Good.<br /><br />Bad.")["input_ids"] == tokenizer("Good. Bad.")["input_ids"]
    batch = tokenizer(["A film.", "x " * 900], truncation=True, padding=True, return_tensors="pt")
    assert batch["input_ids"].shape == (2, 512)
    assert model.eval()(**batch).logits.isfinite().all()
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "100 of `train.parquet`, 50 of `unsupervised.parquet`" in card
    assert "$" not in card
    settings = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert settings["max_position_embeddings"] == 514
    events = list(Path(f"{out}-run").glob("tensorboard/events.*"))
    assert events, "nothing for TensorBoard"


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(reviews: Path, pretrained: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    out = tmp_path / "backbone"
    process = subprocess.Popen(command(reviews, out), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=QUIET)
    try:
        kept = wait_for_checkpoint(Path(f"{out}-run") / "checkpoints", process)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL, "it had ended before it was killed"
    assert not out.exists()
    # What a kill in the middle of writing leaves behind is passed over.
    torn = kept.with_name("step-199.ckpt")
    torn.write_bytes(b"PK" + bytes(1000))
    done = subprocess.run(command(reviews, out), capture_output=True, text=True, timeout=240, check=False, env=QUIET)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "going on from" in done.stdout
    assert f"passing over {torn}" in done.stderr
    one, other = (load_file(folder / "model.safetensors") for folder in (pretrained, out))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_another_shape_does_not_go_on_from_this_run(
    reviews: Path, pretrained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pretrain_backbone

    assert pretrain_backbone.main([*command(reviews, pretrained)[2:], "--hidden", "48"]) == 2
    assert "hidden" in capsys.readouterr().err
