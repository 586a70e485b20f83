"""The answers that a run's test saved, and the texts that they are answers to."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from peft_lightning.data.drawing import draw_subsets
from peft_lightning.data.sources import SourceOptions, fingerprint, prepare, read_corpus
from peft_lightning.data.sources.text_pairs import Pair
from peft_lightning.errors import Setting, UserError
from peft_lightning.recipes import Config
from peft_lightning.runs.directory import checkpoint_of
from peft_lightning.runs.predictions import Answers, read_answers
from peft_lightning.runs.record import RunRecord


@dataclass(frozen=True)
class SavedAnswers:
    """What a run answered in its test.

    Args:
        texts: The texts, or pairs of texts, in the order of the answers.
        answers: The answers, and the targets.
        source: The file that holds them.
    """

    texts: list[str | Pair]
    answers: Answers
    source: Path


def read_saved_answers(
    run: Path, record: RunRecord, config: Config, examples: int | None = None, source: str | None = None
) -> SavedAnswers:
    """Reads the answers of a run's test, and their texts from the run's source.

    Args:
        run: The run's directory.
        record: Its record.
        config: Its configuration.
        examples: How many of the answers to take, spread evenly; None for all.
        source: Where the texts lie now; None for where the run read them.

    Raises:
        UserError: There are no answers, or the source no longer holds their texts.
    """
    path = _file_of_answers(run)
    answers = read_answers(path)
    data = config["data"]
    # What labels are taken for is a setting of the model, and decides how the data are read.
    kind = config["model"].get("problem_type")
    settings = {**data, "source": source or data["source"], "problem_type": kind}
    prepare(settings["source"], settings.get("configuration"))
    corpus = read_corpus(
        settings["source"],
        settings["text_column"],
        settings["label_column"],
        settings["seed"],
        SourceOptions.of(settings),
        settings.get("deduplicate", False),
    )
    chosen = draw_subsets(corpus, settings["n_train"], settings["n_val"], settings["n_test"], settings["seed"])
    kept = record.dataset.fingerprint if record.dataset is not None else None
    if kept is not None and fingerprint(corpus.task.label_names, chosen) != kept:
        raise UserError(
            f"{settings['source']} no longer holds the texts that {run} was tested on: restore it, or name the folder"
            " or file that does with ",
            Setting("source"),
        )
    testing = chosen[2]
    position = {int(row): place for place, row in enumerate(testing.rows)}
    if not all(int(row) in position for row in answers.ids):
        raise UserError(f"{path} holds answers to other texts than {settings['source']} has: test the run again")
    texts = testing.take(np.array([position[int(row)] for row in answers.ids], dtype=np.int64)).texts
    return _some(SavedAnswers(list(texts), answers, path), examples)


def _some(saved: SavedAnswers, examples: int | None) -> SavedAnswers:
    count = len(saved.texts)
    if examples is None or examples >= count:
        return saved
    places = np.linspace(0, count - 1, examples).round().astype(np.int64)
    taken = saved.answers
    return SavedAnswers(
        [saved.texts[place] for place in places],
        replace(taken, ids=taken.ids[places], labels=taken.labels[places], answers=taken.answers[places]),
        saved.source,
    )


def _file_of_answers(run: Path) -> Path:
    """Returns the answers of the test that ended the run, or of a later test of its best checkpoint."""
    path = run / "predictions.parquet"
    if path.is_file():
        return path
    best = checkpoint_of(run, "best").resolve()
    for folder in sorted(run.glob("test_*"), key=lambda folder: folder.stat().st_mtime, reverse=True):
        try:
            tested: Any = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
            if Path(tested["checkpoint"]).resolve() == best and (folder / "predictions.parquet").is_file():
                return folder / "predictions.parquet"
        except (OSError, ValueError, KeyError, TypeError):
            continue
    raise UserError(
        f"{run} holds no answers of a test (predictions.parquet), which an export is proved by: test its best"
        f" checkpoint with test --config {run / 'config.yaml'} --ckpt_path best"
    )
