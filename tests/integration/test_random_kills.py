"""Killed at random moments, with callbacks and loggers of the user's own, a run ends as if it had been left alone.

`KILLS=15 pytest -m slow tests/integration/test_random_kills.py` kills 15 runs of each kind; `KILLS_SEED` draws others.
"""

import csv
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import peft_lightning.backbone
from tests.conftest import write_reviews
from tests.integration.forked_fits import Fit, ForkedFits, record_of
from tests.integration.offline_run import SOURCES, checkpoint, curves, history, record, same

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

KILLS = int(os.environ.get("KILLS", "1"))
SEED = int(os.environ.get("KILLS_SEED", "0"))
# Of the runs that were killed, the share that is killed once more, and of the kills the share before training begins.
AGAIN, EARLY_ON = 0.4, 0.2

# The loss is least after the third of six epochs.
EARLY = {"class_path": "EarlyStopping", "init_args": {"monitor": "val/loss", "patience": 2}}
AT_ONCE = {"class_path": "EarlyStopping", "init_args": {"monitor": "val/loss", "patience": 1, "min_delta": 0.1}}
RATES = {"class_path": "LearningRateMonitor", "init_args": {"logging_interval": "step"}}
CSV = {"class_path": "CSVLogger", "init_args": {"save_dir": "tables"}}


def keeping(**arguments: Any) -> dict[str, Any]:
    return {"class_path": "ModelCheckpoint", "init_args": arguments}


KINDS: dict[str, list[dict[str, Any]]] = {
    "early_stopping": [
        {"callbacks": [EARLY]},
        # After a validation within an epoch; and a stop that has to wait for the fourth epoch.
        {"callbacks": [EARLY], "val_check_interval": 0.5},
        {"callbacks": [AT_ONCE], "min_epochs": 4},
    ],
    "model_checkpoint": [
        {"callbacks": [keeping(dirpath="kept", monitor="val/loss", save_top_k=2)]},
        # In the run's own folder, beside its own last.ckpt.
        {"callbacks": [keeping(save_last=True, every_n_train_steps=3, save_top_k=-1)]},
        {
            "callbacks": [
                keeping(dirpath="kept", filename="{epoch}", monitor="val/acc", mode="max", save_top_k=2),
                keeping(dirpath="steps", monitor="train/loss", every_n_train_steps=2, save_weights_only=True),
            ],
            "val_check_interval": 0.5,
        },
    ],
    "csv_logger": [
        {
            "logger": CSV,
            "callbacks": [{"class_path": "LearningRateMonitor", "init_args": {"logging_interval": "step"}}],
        },
        {
            "logger": {
                "class_path": "CSVLogger",
                "init_args": {"save_dir": "tables", "name": "mine", "version": "first"},
            }
        },
    ],
    "accumulation": [
        # Groups of 3, 3 and 2 batches; the smallest batch is in any of them.
        {"accumulate_grad_batches": 3},
        {
            "accumulate_grad_batches": 3,
            "callbacks": [EARLY, keeping(every_n_train_steps=2, save_top_k=-1)],
            "logger": CSV,
            "val_check_interval": 0.5,
        },
    ],
}


@pytest.fixture(scope="module")
def fits() -> ForkedFits:
    return ForkedFits()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with reviews, a tiny backbone with dropout, and a cache."""
    folder = tmp_path_factory.mktemp("kills")
    write_reviews(folder / "reviews")
    small_backbone(folder / "tiny")
    with pytest.MonkeyPatch.context() as scene:
        scene.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


def small_backbone(folder: Path) -> None:
    """Saves an encoder like the embedded one, with dropout, but so small that a step takes a few milliseconds."""
    from transformers import AutoConfig, AutoModelForMaskedLM

    embedded = Path(peft_lightning.backbone.__file__).parent / "embedded"
    config = AutoConfig.from_pretrained(embedded)
    config.hidden_size, config.intermediate_size, config.num_hidden_layers, config.num_attention_heads = 32, 48, 2, 2
    with torch.random.fork_rng():
        torch.manual_seed(1)
        AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    for path in embedded.glob("tokenizer*"):
        shutil.copy(path, folder)


def words_of(place: Path, trainer: dict[str, Any], folder: Path) -> list[str]:
    """The words of a `fit` of six epochs of eight batches, of which one is smaller; its settings are put in a file."""
    folder.mkdir()
    (folder / "mine.yaml").write_text(yaml.safe_dump({"trainer": trainer}))
    return [
        *("fit", "--config", str(SOURCES / "configs/lora.yaml"), "--config", "mine.yaml"),
        *("--model.model_name_or_path", str(place / "tiny"), "--model.learning_rate", "3e-3"),
        *("--data.source", str(place / "reviews"), "--data.n_train", "30", "--data.n_val", "16"),
        *("--data.n_test", "16", "--data.max_length", "16", "--data.batch_size", "4"),
        *("--trainer.max_epochs", "6", "--trainer.accelerator", "cpu", "--trainer.log_every_n_steps", "1"),
        *("--trainer.enable_progress_bar", "false"),
        *("--checkpoint.every_n_steps", "5", "--checkpoint.max_time_share", "1"),
    ]


def run_in(folder: Path) -> Path:
    (found,) = folder.glob("lightning_logs/lora/version_*")
    return found


def plain(content: Any, folder: Path) -> Any:
    """A nest of values in which paths do not name the run's own folder."""
    if isinstance(content, str):
        return content.replace(str(folder), "")
    if isinstance(content, dict):
        return {plain(key, folder): plain(value, folder) for key, value in content.items()}
    return [plain(value, folder) for value in content] if isinstance(content, list | tuple) else content


def tables(folder: Path) -> dict[str, list[dict[str, str]]]:
    """The rows of all CSV files of the user's own, without what a clock or a memory gauge said."""
    found = {}
    for path in sorted(folder.glob("tables/**/*.csv")):
        with path.open(newline="") as file:
            found[str(path.relative_to(folder))] = [
                {name: value for name, value in row.items() if not name.startswith(("time/", "memory/"))}
                for row in csv.DictReader(file)
            ]
    return found


def checkpoints(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*.ckpt*"))}


def assert_same_run(alone: Path, killed: Path) -> None:
    """Compares all that two runs have left, but for times and memory."""
    left, right = run_in(alone), run_in(killed)
    ours, theirs = checkpoints(alone), checkpoints(killed)
    assert ours.keys() == theirs.keys()
    for name, path in ours.items():
        expected, found = checkpoint(path), checkpoint(theirs[name])
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step", "epoch"):
            assert same(expected.get(part), found.get(part)), (name, part)
        for key in (key for key in expected.get("callbacks", {}) if key.startswith(("EarlyStop", "ModelCheck"))):
            before, after = expected["callbacks"][key], found["callbacks"][key]
            assert same(plain(before, alone), plain(after, killed)), (name, key)
    assert history(left) == history(right)
    assert curves(left) == curves(right)
    assert tables(alone) == tables(killed)
    assert (left / "predictions.parquet").read_bytes() == (right / "predictions.parquet").read_bytes()
    before, after = record(left), record(right)
    for part in ("status", "error", "metrics", "params", "dataset", "backbone", "config_sha256", "notes"):
        assert before[part] == after[part], part
    assert before["time"]["steps"] == after["time"]["steps"]
    assert len(before["time"]["epoch_s"]) == len(after["time"]["epoch_s"])


def killed(fit: Fit, folder: Path, draw: random.Random, alone: Fit) -> int:
    """Kills a `fit` at a random moment, most often in its training; returns its exit code."""
    early, training = draw.random() < EARLY_ON, draw.random()
    if early:
        return fit.wait(draw.uniform(0, alone.began_after_s))
    fit.await_training(folder)
    return fit.wait(fit.began_after_s + training * (alone.took_s - alone.began_after_s))


def kill_until_it_ends(fits: ForkedFits, words: list[str], folder: Path, draw: random.Random, alone: Fit) -> int:
    """Starts a run as often as it takes, kills it at random moments, and returns how often it was killed."""
    kills = 0
    while True:
        # A kill before there is a run is a run that was never begun.
        begun = record_of(folder) is not None
        fit = fits.start([*words, *(["--ckpt_path", "last"] if begun else [])], folder)
        if kills and draw.random() > AGAIN:
            assert fit.wait(600) == 0, fit.log.read_text()
            return kills
        code = killed(fit, folder, draw, alone)
        assert code in (0, -9), fit.log.read_text()
        kills += code == -9 and record_of(folder) is not None
        if record_of(folder) is not None and record(run_in(folder))["status"] == "finished":
            if kills:
                return kills
            for name in ("lightning_logs", "kept", "steps", "tables"):  # it was faster than the kill
                shutil.rmtree(folder / name, ignore_errors=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_killed_at_random_moments_ends_as_if_left_alone(
    kind: str, fits: ForkedFits, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Another interpreter's strings would hash to another seed.
    draw = random.Random(f"{SEED} {kind}")
    alone: dict[int, tuple[Path, Fit]] = {}
    for number in range(KILLS):
        variant = number % len(KINDS[kind])
        trainer = KINDS[kind][variant]
        if variant not in alone:
            folder = tmp_path / f"alone_{variant}"
            words = words_of(place, trainer, folder)
            fit = fits.start(words, folder)
            fit.await_training(folder)
            assert fit.wait(600) == 0, fit.log.read_text()
            alone[variant] = (folder, fit)
        whole, left_alone = alone[variant]
        folder = tmp_path / f"killed_{number}"
        words = words_of(place, trainer, folder)
        kills = kill_until_it_ends(fits, words, folder, draw, left_alone)
        with capsys.disabled():
            print(f"\n{kind} {number + 1} of {KILLS}, variant {variant}: killed {kills} times", end=" ", flush=True)
        assert_same_run(whole, folder)
