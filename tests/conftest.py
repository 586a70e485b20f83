"""How pytest is wired: set before anything imports torch, and inherited by child processes."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.surroundings import changed, own_environment, restore, seed, surroundings

# No test may ask a network for anything, whatever the machine has cached.
os.environ["HF_HUB_OFFLINE"] = "1"
# Rust threads and forked data loader workers do not go together; tokenizers says so on every fork.
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# At the size of the tests' models a second thread costs more than it brings, and sums keep one order.
os.environ.setdefault("OMP_NUM_THREADS", "1")

GOOD = ("a warm and funny film", "the cast is a joy", "I would see it again", "every scene earns its place")
BAD = ("a dull and clumsy film", "the cast is a bore", "I left before the end", "no scene earns its place")


@pytest.fixture(autouse=True)
def in_any_order() -> Iterator[None]:
    """Tests end alike whichever came before: 0.3 ms each."""
    before, environment = surroundings(), own_environment()
    seed()
    yield
    restore(environment)
    left = changed(before, surroundings())
    assert not left, f"the test leaves behind: {'; '.join(left)}"


def write_reviews(folder: Path) -> Path:
    """A folder with a train and a test file: 64 and 32 short reviews of two classes."""
    folder.mkdir()
    for split, count in (("train", 64), ("test", 32)):
        rows = [
            {"text": f"{(BAD, GOOD)[n % 2][n // 2 % 4]}, said viewer {n}" + " indeed" * (n % 5), "label": n % 2}
            for n in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def tiny_fit_words(reviews: Path) -> list[str]:
    """The words of a `fit` that takes a second."""
    return [
        *("fit", "--config", "configs/lora.yaml", "--config", "configs/offline.yaml"),
        *("--data.source", str(reviews), "--data.n_train", "32", "--data.n_val", "16", "--data.n_test", "16"),
        *("--data.max_length", "32", "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"),
        *("--trainer.enable_progress_bar", "false", "--trainer.log_every_n_steps", "1"),
    ]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """A folder with 64 and 32 short reviews of two classes."""
    return write_reviews(tmp_path / "reviews")


@pytest.fixture
def tiny_fit(reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words of a `fit` that takes a second, in an empty working directory with a cache of its own."""
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tiny_fit_words(reviews)


@pytest.fixture
def unlaunched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails a test whose run would start its further processes: they would be pytest once more."""
    from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

    monkeypatch.setattr(_SubprocessScriptLauncher, "_call_children_scripts", lambda self: pytest.fail("not refused"))


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Leaves in the working directory what `tiny_fit` with these further words leaves there, which is trained once."""
    from peft_lightning.__main__ import main

    trained: dict[tuple[str, ...], Path] = {}

    def leave(*more: str) -> None:
        if more not in trained:
            folder = tmp_path_factory.mktemp("trained")
            with pytest.MonkeyPatch.context() as scene:
                scene.chdir(folder)
                scene.setenv("XDG_CACHE_HOME", str(folder / "cache"))
                main([*tiny_fit_words(write_reviews(folder / "reviews")), *more])
            trained[more] = folder
        shutil.copytree(trained[more] / "lightning_logs", "lightning_logs")

    return leave


@pytest.fixture(scope="session")
def still_backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny RoBERTa without dropout: training computes what evaluation computes."""
    from tests.methods.tiny_backbones import save_backbone

    folder = save_backbone("roberta", tmp_path_factory.mktemp("still"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)
