"""Reads the texts of test reviews again from the data source, because no run keeps them: offline, and checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from peft_lightning.compare.report.study import Run
from peft_lightning.errors import UserError
from peft_lightning.runs.record import RunRecord
from peft_lightning.task import Task


@dataclass(frozen=True)
class Texts:
    """The texts of test reviews.

    Args:
        by_id: The texts, by row in the test split.
        task: The task of the source, with the names of its labels.
    """

    by_id: dict[int, str]
    task: Task


def read_texts(run: Run, record: RunRecord, ids: Sequence[int]) -> Texts | str:
    """Reads the texts of some test reviews of a run.

    Args:
        run: The run, for its settings.
        record: Its record, for the fingerprint of the reviews that it saw.
        ids: The reviews' rows in the test split.

    Returns:
        The texts, or a sentence that says why there are none.
    """
    from peft_lightning.data.drawing import draw_subsets
    from peft_lightning.data.sources import SourceOptions, fingerprint, read_corpus
    from peft_lightning.data.sources.text_pairs import in_one

    data, model = ((run.config or {}).get(section) for section in ("data", "model"))
    if record.dataset is None or not isinstance(data, dict):
        return "The texts are not shown: the run's settings do not say where they came from."
    try:
        with _offline():
            seed = int(data["seed"])
            problem_type = model.get("problem_type") if isinstance(model, dict) else None
            options = SourceOptions.of({**data, "problem_type": problem_type})
            deduplicate = bool(data.get("deduplicate", False))
            columns = data["text_column"], data["label_column"]
            corpus = read_corpus(str(data["source"]), *columns, seed, options, deduplicate)
            drawn = draw_subsets(corpus, data["n_train"], data["n_val"], data["n_test"], seed)
            test = drawn[2]
    except (KeyError, TypeError, ValueError, IndexError):
        return "The texts are not shown: the run's settings do not say where they came from."
    except UserError:
        return f"The texts are not shown: {record.dataset.source} cannot be read from here without a network."
    if fingerprint(corpus.task.label_names, drawn) != record.dataset.fingerprint:
        return f"The texts are not shown: {record.dataset.source} has changed since the runs read it."
    wanted = set(ids)
    found = {int(row): in_one(text) for row, text in zip(test.rows, test.texts, strict=True) if int(row) in wanted}
    return Texts(found, corpus.task)


@contextmanager
def _offline() -> Iterator[None]:
    """Keeps the hub's libraries offline: a report must not download a dataset."""
    import datasets
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before
